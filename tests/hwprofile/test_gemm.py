import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwprofile.device import load_device
from hwprofile.gemm import GemmConstants, GemmPlans, plan_gemms
from hwprofile.gemm_features import FEATURES, SCALE_FREE, gemm_features
from hwprofile.wave import limits

LIMITS = limits(load_device("a100"), "bf16")
# Everything as the datasheet says it and nothing for free: times can be counted by hand.
PLAIN = GemmConstants(
    floor_cycles=1410.0,
    ramp_cycles=0.0,
    compute_efficiency=1.0,
    tile_half=0.0,
    step_cycles=0.0,
    tile_cycles=0.0,
    l2_efficiency=1e9,
    dram_efficiency=1e9,
    dram_half=0.0,
    split_cycles=0.0,
    vector_cycles=0.0,
    overlap=8.0,
    l2_share=1e-9,
    l2_slope=4.0,
)
SIZES = st.lists(st.tuples(*[st.integers(1, 9000)] * 3), min_size=1, max_size=8)


def plans(sizes: list[tuple[int, int, int]], constants: GemmConstants = PLAIN) -> GemmPlans:
    m, n, k = np.array(sizes, dtype=float).T
    return plan_gemms(m, n, k, np.ones_like(m), LIMITS, constants)


def test_whole_waves_run_at_the_peak() -> None:
    # 108 tiles of 128 x 256 on 108 SMs; one microsecond is the floor.
    found = plans([(128 * 108, 256, 4096)])
    macs = 128 * 108 * 256 * 4096
    assert found.time_us[0] == pytest.approx(1.0 + macs / 156e6, rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(SIZES)
def test_no_product_beats_the_peak_nor_depends_on_its_neighbours(
    sizes: list[tuple[int, int, int]],
) -> None:
    together = plans(sizes)
    for place, size in enumerate(sizes):
        alone = plans([size])
        assert alone.time_us[0] == pytest.approx(together.time_us[place], rel=1e-12)
        if size[0] > 1:
            assert together.time_us[place] >= size[0] * size[1] * size[2] / 156e6
        assert together.runner_up_us[place] >= together.time_us[place]


def test_operands_that_stay_in_l2_are_not_read_again() -> None:
    slow = GemmConstants(**{**_fields(PLAIN), "dram_efficiency": 1.0, "l2_share": 1.0})
    cold = GemmConstants(**{**_fields(PLAIN), "dram_efficiency": 1.0})
    small, large = (16, 512, 512), (16, 16384, 16384)
    assert plans([small], slow).dram_us[0] < 0.2 * plans([small], cold).dram_us[0]
    assert plans([large], slow).dram_us[0] == pytest.approx(plans([large], cold).dram_us[0], 0.01)


def test_features_are_named_finite_and_of_no_device() -> None:
    sizes = [(1, 32, 32), (17, 65536, 32), (32768, 51200, 65536)]
    m, n, k = np.array(sizes, dtype=float).T
    found = gemm_features(m, n, k, plans(sizes), LIMITS)
    assert found.shape == (3, len(FEATURES))
    assert np.isfinite(found).all()
    assert set(SCALE_FREE) < set(FEATURES)


def _fields(constants: GemmConstants) -> dict[str, float]:
    return {name: getattr(constants, name) for name in constants.__dataclass_fields__}
