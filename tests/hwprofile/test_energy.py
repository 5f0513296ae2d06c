import pytest

from hwprofile.energy import Power, energy_mj
from hwprofile.estimate import Estimate
from hwprofile.kernel import Kernel
from hwprofile.targets import get_target

# 1,000 GB/s move 1 GB a millisecond; 100 TFLOPS do 1e11 operations a millisecond.
BOARD = Power(tdp_w=300, idle_w=100, dram_gbps=1000, peak_tflops={"fp16": 100, "fp32": 10})


def ms(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value=value, low=low or value, high=high or value)


def stream(gb: float) -> Kernel:
    return Kernel(op="elementwise", scheme="fp16", m=1, read_bytes=int(gb * 1e9))


def product(flops: float) -> Kernel:
    return Kernel(op="gemm", scheme="fp16", m=1, flops=int(flops))


def value(latency: Estimate, *kernels: tuple[Kernel, Estimate]) -> float:
    found = energy_mj(BOARD, latency, kernels)
    assert found is not None
    assert found.unit == "mJ"
    return found.value


def test_energy_by_hand() -> None:
    # Idle: 100 W for 2 ms are 200 mJ.
    assert value(ms(2)) == pytest.approx(200)
    # 1 ms of memory at 60 % of the spare 200 W; 1 ms of arithmetic at 80 %.
    assert value(ms(2), (stream(1), ms(2))) == pytest.approx(200 + 120)
    assert value(ms(2), (product(1e11), ms(2))) == pytest.approx(200 + 160)
    # Work that takes no longer than it must is held at the TDP.
    both = Kernel(op="gemm", scheme="fp16", m=1, flops=int(2e11), read_bytes=int(2e9))
    assert value(ms(2), (both, ms(2))) == pytest.approx(600)


def test_what_does_not_multiply_matrices_runs_on_the_slower_cores() -> None:
    pointwise = Kernel(op="elementwise", scheme="fp16", m=1, flops=int(1e10))
    assert value(ms(2), (pointwise, ms(2))) == pytest.approx(value(ms(2), (product(1e11), ms(2))))


def test_the_range_reaches_from_half_the_work_to_the_tdp() -> None:
    found = energy_mj(BOARD, ms(2, 1, 3), [(stream(1), ms(2))])
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(100 + 60), pytest.approx(900))


def test_without_figures_there_is_no_energy() -> None:
    assert energy_mj(None, ms(1), []) is None


@pytest.mark.parametrize("name", ["a100", "h200", "v100", "t4", "l4", "a10", "rtx4090"])
def test_devices_that_ship_say_their_power(name: str) -> None:
    target = get_target(name)
    assert target.power is not None
    assert target.power.static_w < target.power.tdp_w
    assert f"TDP {target.power.tdp_w:g} W" in target.describe()
