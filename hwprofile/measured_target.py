"""A GPU that `nas profile` measured: its rows correct the analytical estimate.

Of every kind of kernel (family and scheme) the rows give log(measured / analytical), interpolated
between their sizes (`interpolate`); kinds without enough rows are priced as on a device where
nothing was measured. Ranges are split-conformal, from rows when left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from hwprofile.cuda_target import CudaTarget
from hwprofile.estimate import Estimate
from hwprofile.interpolate import Residuals
from hwprofile.kernel import Kernel
from hwprofile.kernel_rows import kernel_of
from hwprofile.profile_table import Profile, Row
from hwprofile.spread import Spread
from hwprofile.target import Target

LEAST_ROWS = 20
"""Rows of a kind, below which it counts as not measured: a spread needs as many."""

Kind = tuple[str, str]


class MeasuredTarget(Target):
    """Prices kernels by a profile of the device, each once.

    Args:
        base: the device, which gives the analytical estimate.
        profile: what was measured on it.
        backend: whose rows count: `torch`, or `triton` for networks in `nas.optimize`'s kernels.
    """

    def __init__(self, base: CudaTarget, profile: Profile, *, backend: str = "torch") -> None:
        self.name, self.runtime, self.schemes = base.name, base.runtime, base.schemes
        self.default_scheme, self.coverage = base.default_scheme, base.coverage
        self.base, self.profile = base, profile
        self.residuals: dict[Kind, Residuals] = {}
        """By kind, where there are rows enough."""
        self._ends: dict[Kind, tuple[float, float]] = {}
        self._prices: dict[Kernel, Estimate] = {}
        grouped: dict[Kind, list[tuple[Kernel, float]]] = {}
        for row in profile.rows:
            if row.backend == backend and row.scheme in base.schemes:
                kernel = _kernel(row)
                grouped.setdefault(_kind(kernel), []).append((kernel, row.timing.q50_ms))
        for kind, rows in grouped.items():
            if len(rows) >= LEAST_ROWS:
                self._learn(kind, rows)

    def alone(self, kernel: Kernel) -> Estimate:
        """As `Target.alone`."""
        estimate = self._prices.get(kernel)
        if estimate is None:
            estimate = self._prices[kernel] = self._price(kernel)
        return estimate

    @property
    def launch_floor_ms(self) -> float:
        """As `Target.launch_floor_ms`: of all that was measured the shortest, if that is less."""
        times = [row.timing.q50_ms for row in self.profile.rows]
        return min([self.base.launch_floor_ms, *times])

    def describe(self) -> str:
        """As `Target.describe`."""
        machine, facts = self.profile.machine, self.profile.facts
        lines = [
            self.base.describe(),
            f"  corrected by {len(self.profile.rows)} rows of {machine.device}, measured "
            f"{facts.get('finished', 'at an unknown time')} by torch {machine.torch}"
            + (f", CUDA {machine.cuda}" if machine.cuda else ""),
        ]
        for kind, residuals in sorted(self.residuals.items()):
            low, high = self._ends[kind]
            lines.append(
                f"    {' '.join(kind)}: measured over analytical {math.exp(residuals.middle):.2f} "
                f"in the middle; range {low:.2f} to {high:.2f}"
            )
        return "\n".join(lines)

    def _learn(self, kind: Kind, rows: Iterable[tuple[Kernel, float]]) -> None:
        pairs = list(rows)
        logs = [math.log(time / self.base.prior(kernel)) for kernel, time in pairs]
        found = self.residuals[kind] = Residuals([_sizes(kernel) for kernel, _ in pairs], logs)
        self._ends[kind] = Spread.of_rows(list(found.left_out())).ends(self.coverage)

    def _price(self, kernel: Kernel) -> Estimate:
        kind = _kind(kernel)
        residuals = self.residuals.get(kind)
        if residuals is None:
            return self.base.alone(kernel)
        time = self.base.prior(kernel) * math.exp(residuals.at(_sizes(kernel)))
        low, high = self._ends[kind]
        return Estimate(value=time, low=time * low, high=time * high)


def _kernel(row: Row) -> Kernel:
    sizes = {"groups": 1, **row.layer.named}
    if row.layer.op == "bmm":
        sizes["groups"] = sizes.pop("b")
    return kernel_of(row.layer.op, row.scheme, sizes)


def _kind(kernel: Kernel) -> Kind:
    return ("attention" if kernel.op == "other" and kernel.k > 1 else kernel.op, kernel.scheme)


def _sizes(kernel: Kernel) -> tuple[float, ...]:
    """What decides a kernel's time beside the analytical estimate, each above 0."""
    # Products and convolutions are sized by these alone; their rows do not say bytes.
    sized = kernel.op in ("gemm", "conv2d", "depthwise_conv2d")
    moved = 0 if sized else kernel.read_bytes + kernel.weight_bytes + kernel.write_bytes
    return (kernel.m, kernel.n, kernel.k, kernel.groups, kernel.taps, kernel.stride, moved + 1)
