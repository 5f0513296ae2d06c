"""Corrects a target by latencies of whole networks measured there: twenty are enough to help.

Every kind of kernel gets one factor, all of them near one factor of the device, and how near is
chosen by the mean error of each network when left out in turn; where no factors do better than
none, there are none. The networks' errors when left out make the range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwprofile.estimate import Estimate
from hwprofile.kernel import Kernel
from hwprofile.spread import CoverageError, Spread, check_coverage
from hwprofile.target import Target

HOST = "host"
"""The part of a network that the host's dispatch is."""
LEAST = 3
"""Networks that a calibration needs at least."""
_LOOSENESS = (0.0, 0.05, 0.1, 0.2, 0.4)
"""How far factors of kinds may lie from the device's, as standard deviations of their logarithms:
what is tried, beside no correction at all."""
_NOISE = 0.05
"""Standard deviation of log(measured) that a factor should not explain."""

Array = NDArray[np.float64]


class CalibrationError(ValueError):
    """Measured latencies that cannot calibrate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What measured networks say of a target's prices."""

    factors: Mapping[str, float]
    """By kind of kernel, and `HOST`: measured over priced."""
    other: float
    """The device's own factor, for kinds that no network had."""
    low: float
    """Lower end of a network's 90 % range over its corrected price."""
    high: float
    """Upper end."""
    networks: int
    """Networks measured."""
    error_before: float
    """Median of |price / measured - 1| without the calibration."""
    error_after: float
    """The same for networks left out of it."""

    def factor(self, kind: str) -> float:
        """What prices of a kind of kernel, or of `HOST`, are multiplied by."""
        return self.factors.get(kind, self.other)

    def ranged(self, value: float, coverage: float) -> Estimate:
        """A corrected price with the range of a network's."""
        low, high = Spread.of_pair(self.low, self.high).ends(coverage)
        return Estimate(value=value, low=value * low, high=value * high)


def calibrate(
    parts: Sequence[Mapping[str, float]],
    measured: Sequence[float],
    names: Sequence[str] | None = None,
) -> Calibration:
    """The calibration that measured networks give.

    Args:
        parts: for each measurement the priced ms of each kind of kernel in the network, and of
            `HOST`, if it has any.
        measured: the measured latency, in ms.
        names: which network it is of; measurements of one are left out together. By default each
            is of another.

    Raises:
        CalibrationError: fewer than `LEAST` networks, or a latency that is no time above 0.
    """
    names = names or [str(i) for i in range(len(parts))]
    networks = len(set(names))
    if not len(parts) == len(measured) == len(names) or networks < LEAST:
        raise CalibrationError(
            f"a calibration needs at least {LEAST} networks, each with its latency; got {networks}"
        )
    for time in measured:
        if not math.isfinite(time) or time <= 0:
            raise CalibrationError(f"a measured latency must be above 0 ms; got {time}")
    kinds = sorted({kind for part in parts for kind in part})
    sums = np.array([[part.get(kind, 0.0) for kind in kinds] for part in parts])
    if (sums.sum(1) <= 0).any():
        raise CalibrationError("a network to calibrate by must launch something: one has no kernel")
    host = np.array([kind == HOST for kind in kinds])
    logs = np.log(np.asarray(measured, dtype=float))
    before = np.log(_totals(sums, host)) - logs
    apart = [np.array([name == one for name in names]) for one in dict.fromkeys(names)]
    errors: dict[float | None, Array] = {None: before}
    for loose in _LOOSENESS:
        errors[loose] = _left_out(sums, host, logs, apart, loose)
    best = min(errors, key=lambda one: float(np.mean(np.abs(errors[one]))))
    own, factors = 0.0, np.zeros(len(kinds))
    if best is not None:
        own, factors = _fit(sums, host, logs, best)
    low, high = _ends(-errors[best])
    return Calibration(
        factors=dict(zip(kinds, map(float, np.exp(factors)), strict=True)),
        other=math.exp(own),
        low=low,
        high=high,
        networks=networks,
        error_before=float(np.median(np.abs(np.expm1(before)))),
        error_after=float(np.median(np.abs(np.expm1(errors[best])))),
    )


class CalibratedTarget(Target):
    """A target with its prices corrected. Ranges of single launches grow as they were."""

    def __init__(self, base: Target, calibration: Calibration) -> None:
        self.name, self.runtime, self.schemes = base.name, base.runtime, base.schemes
        self.default_scheme, self.coverage = base.default_scheme, base.coverage
        self.power = base.power
        self.base, self.calibration = base, calibration
        check_coverage(base.coverage)

    def alone(self, kernel: Kernel) -> Estimate:
        """As `Target.alone`."""
        factor, estimate = self.calibration.factor(kernel.op), self.base.alone(kernel)
        return Estimate(
            value=estimate.value * factor, low=estimate.low * factor, high=estimate.high * factor
        )

    def price(self, kernel: Kernel) -> Estimate:
        """As `Target.price`."""
        value = self.base.price(kernel).value * self.calibration.factor(kernel.op)
        return self.calibration.ranged(value, self.coverage)

    def host(self, kernel: Kernel) -> Estimate | None:
        """As `Target.host`."""
        estimate = self.base.host(kernel)
        if estimate is None:
            return None
        value = estimate.value * self.calibration.factor(HOST)
        return self.calibration.ranged(value, self.coverage)

    @property
    def launch_floor_ms(self) -> float:
        """As `Target.launch_floor_ms`."""
        return self.base.launch_floor_ms * min([*self.calibration.factors.values(), 1.0])

    def describe(self) -> str:
        """As `Target.describe`."""
        found = self.calibration
        factors = ", ".join(f"{kind} {factor:.2f}" for kind, factor in found.factors.items())
        return (
            f"{self.base.describe()}\n"
            f"  calibrated by {found.networks} measured networks: median error "
            f"{found.error_before:.1%} before, {found.error_after:.1%} where left out\n"
            f"  factors: {factors}; {found.other:.2f} for others\n"
            f"  90 % range of a network: {found.low:.2f} to {found.high:.2f}"
        )


def _totals(sums: Array, host: NDArray[np.bool_], factors: Array | None = None) -> Array:
    """Latency of each network: the device's parts together, or the host's where that is longer."""
    scaled = sums if factors is None else sums * np.exp(factors)
    return np.asarray(np.maximum(scaled[:, ~host].sum(1), scaled[:, host].sum(1)))


def _fit(sums: Array, host: NDArray[np.bool_], logs: Array, loose: float) -> tuple[float, Array]:
    """The device's factor and those of the kinds, all as logarithms."""
    from scipy.optimize import least_squares

    def residuals(x: Array) -> Array:
        factors = x[0] + loose * x[1:]
        return np.concatenate(((np.log(_totals(sums, host, factors)) - logs) / _NOISE, x[1:]))

    def slopes(x: Array) -> Array:
        scaled = sums * np.exp(x[0] + loose * x[1:])
        waits = scaled[:, host].sum(1) > scaled[:, ~host].sum(1)
        deciding = np.where(host == waits[:, None], scaled, 0.0)
        shares = deciding / deciding.sum(1, keepdims=True)
        networks = np.hstack([np.ones((len(logs), 1)), loose * shares]) / _NOISE
        kinds = np.eye(sums.shape[1], 1 + sums.shape[1], 1)
        return np.vstack([networks, kinds])

    start = np.zeros(1 + sums.shape[1])
    start[0] = float(np.median(logs - np.log(_totals(sums, host))))
    # Steps of kinds count in units of their looseness; soft-L1 keeps one odd network from ruling.
    found = least_squares(residuals, start, slopes, loss="soft_l1").x
    return float(found[0]), found[0] + loose * found[1:]


def _left_out(
    sums: Array,
    host: NDArray[np.bool_],
    logs: Array,
    apart: Sequence[NDArray[np.bool_]],
    loose: float,
) -> Array:
    """log(price / measured) of each measurement, by a fit to those of other networks."""
    errors = np.empty(len(logs))
    for own in apart:
        _, factors = _fit(sums[~own], host, logs[~own], loose)
        errors[own] = np.log(_totals(sums[own], host, factors)) - logs[own]
    return errors


def _ends(errors: Array) -> tuple[float, float]:
    """Ends of the 90 % range: by the errors themselves where they are many, else as a normal's."""
    try:
        return Spread.of_rows(list(errors)).ends(0.9)
    except CoverageError:
        from scipy.stats import t

        count = len(errors)
        reach = float(t.ppf(0.95, count - 1) * math.sqrt(1 + 1 / count) * np.std(errors, ddof=1))
        middle = float(np.mean(errors))
        return min(1.0, math.exp(middle - reach)), max(1.0, math.exp(middle + reach))
