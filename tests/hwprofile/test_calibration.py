"""Latencies of whole networks correct a target, and their spread becomes the range."""

import math

import numpy as np
import pytest

from hwprofile.calibration import HOST, CalibratedTarget, CalibrationError, calibrate
from hwprofile.kernel import Kernel
from hwprofile.targets import get_target


def networks(count, seed, factors, noise=0.02):
    """Parts of random networks, and what a device takes whose kinds are off by known factors."""
    generator = np.random.default_rng(seed)
    kinds = list(factors)
    parts = generator.lognormal(0.0, 1.0, (count, len(kinds)))
    times = parts @ np.array([factors[kind] for kind in kinds])
    times *= np.exp(generator.normal(0.0, noise, count))
    return [dict(zip(kinds, row, strict=True)) for row in parts], list(times)


def price(calibration, part):
    factors = calibration.factors
    return sum(factors.get(kind, calibration.other) * ms for kind, ms in part.items())


def test_twenty_networks_correct_others():
    factors = {"gemm": 1.4, "conv2d": 1.1, "elementwise": 2.0, "copy": 0.8}
    parts, times = networks(20, 0, factors)
    found = calibrate(parts, times)
    others, wanted = networks(200, 1, factors)
    errors = [abs(price(found, p) / t - 1) for p, t in zip(others, wanted, strict=True)]
    assert np.median(errors) < 0.05 < found.error_before
    inside = [
        price(found, p) * found.low <= t <= price(found, p) * found.high
        for p, t in zip(others, wanted, strict=True)
    ]
    assert np.mean(inside) > 0.8


def test_a_device_that_is_twice_as_slow_in_all_gets_one_factor():
    parts, times = networks(6, 2, {"gemm": 2.0, "conv2d": 2.0, "pool": 2.0}, noise=0.0)
    found = calibrate(parts, times)
    assert list(found.factors.values()) == pytest.approx([2.0] * 3, rel=1e-3)
    assert found.other == pytest.approx(2.0, rel=1e-3)


def test_the_host_is_corrected_where_it_decides():
    parts = [{"gemm": 1.0, HOST: 10.0 * (1 + i)} for i in range(8)]
    times = [30.0 * (1 + i) for i in range(8)]
    assert calibrate(parts, times).factors[HOST] == pytest.approx(3.0, rel=1e-2)


def test_a_calibrated_target_prices_by_its_factors():
    base = get_target("a100")
    parts, times = networks(10, 3, {"gemm": 1.5, "elementwise": 1.2}, noise=0.01)
    found = calibrate(parts, times)
    target = CalibratedTarget(base, found)
    kernel = Kernel(op="gemm", scheme="fp16", m=512, n=512, k=512)
    assert target.price(kernel).value == base.price(kernel).value * found.factors["gemm"]
    other = Kernel(op="pool", scheme="fp16", m=512, read_bytes=1024, write_bytes=1024)
    assert target.price(other).value == base.price(other).value * found.other
    wide, narrow = (CalibratedTarget(get_target("a100", coverage=c), found) for c in (0.99, 0.6))
    assert wide.price(kernel).high > target.price(kernel).high > narrow.price(kernel).high
    assert "10 measured networks" in target.describe()


@pytest.mark.parametrize("time", [0.0, -1.0, math.nan, math.inf])
def test_times_that_are_none_are_refused(time):
    with pytest.raises(CalibrationError, match="above 0 ms"):
        calibrate([{"gemm": 1.0}] * 3, [1.0, time, 1.0])


def test_two_networks_are_too_few():
    with pytest.raises(CalibrationError, match=r"at least 3 networks.*got 2"):
        calibrate([{"gemm": 1.0}] * 2, [1.0, 1.0])


def test_networks_that_no_factor_helps_change_nothing_but_the_range():
    parts = [{"gemm": 1.0}] * 20
    times = [1.3, 1 / 1.3] * 10
    found = calibrate(parts, times)
    assert found.factor("gemm") == found.other == 1.0
    assert found.low == pytest.approx(1 / 1.3, rel=1e-6)
    assert found.high == pytest.approx(1.3, rel=1e-6)


def test_measurements_of_one_network_are_left_out_together():
    parts = [{"gemm": 1.0}, {"gemm": 1.0}, {"gemm": 1.0}]
    times = [2.0, 2.0, 4.0]
    apart = calibrate(parts * 3, times * 3, ["a", "b", "c"] * 3)
    assert apart.networks == 3
    # Were a network known by its other measurements, its error would be smaller than its own.
    assert apart.error_after == pytest.approx(calibrate(parts, times).error_after, rel=0.2)
    with pytest.raises(CalibrationError, match="at least 3 networks, each with its latency; got 2"):
        calibrate(parts * 2, times * 2, ["a", "b"] * 3)
