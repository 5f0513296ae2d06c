"""Latency of an architecture on a target: the sum of its blocks' kernels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hwprofile.blocks import BlockCost, Costs, Part
from hwprofile.estimate import Estimate
from hwprofile.kernel import Kernel
from hwprofile.target import Target


@dataclass(frozen=True, slots=True)
class PricedKernel:
    """One launch with its price."""

    kernel: Kernel
    """What launches."""
    estimate: Estimate
    """What it adds to the device's time and to the ends of its range, in ms."""
    host: Estimate | None = None
    """What the host needs to send it off, in ms; None where that never decides."""


class Sums(NamedTuple):
    """Times of some launches, in ms: the device's and the host's, which run side by side."""

    value: float
    low: float
    high: float
    host: float = 0.0
    host_low: float = 0.0
    host_high: float = 0.0

    def total(self) -> Estimate:
        """The time of a network: whichever of device and host takes longer."""
        return Estimate(
            value=max(self.value, self.host),
            low=max(self.low, self.host_low),
            high=max(self.high, self.host_high),
        )


class LatencyPredictor:
    """Prices blocks on one target, each once."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._blocks: dict[BlockCost, Sums] = {}
        self._parts: dict[Part, Sums] = {}

    def latency(self, costs: Costs) -> Estimate:
        """Latency of one forward pass, in milliseconds, with its range."""
        return self.sums(costs).total()

    def latencies(self, candidates: Sequence[Costs]) -> list[Estimate]:
        """`latency` of many, whose new kernels the target prices all at once."""
        new = {b: None for c in candidates for b in c.blocks if b not in self._blocks}
        kernels = [kernel for block in new for kernel in block.kernels]
        found = iter(priced(self.target, kernels))
        for block in new:
            self._blocks[block] = sums_of([next(found) for _ in block.kernels])
        return [self.latency(costs) for costs in candidates]

    def sums(self, costs: Costs) -> Sums:
        """The device's and the host's time of one forward pass."""
        known = self._parts
        return added([known.get(part) or self._add(part) for part in costs.parts])

    def breakdown(self, costs: Costs) -> list[list[PricedKernel]]:
        """For every block its kernels with their prices, in the order they launch."""
        return [priced(self.target, block.kernels) for block in costs.blocks]

    def _add(self, part: Part) -> Sums:
        for block in part.blocks:
            if block not in self._blocks:
                self._blocks[block] = sums_of(priced(self.target, block.kernels))
        found = self._parts[part] = added([self._blocks[block] for block in part.blocks])
        return found


def priced(target: Target, kernels: Sequence[Kernel]) -> list[PricedKernel]:
    """Kernels with their prices."""
    return [
        PricedKernel(kernel, estimate, target.host(kernel))
        for kernel, estimate in zip(kernels, target.price_all(kernels), strict=True)
    ]


def sums_of(kernels: Iterable[PricedKernel]) -> Sums:
    """Their times together."""
    parts = []
    for kernel in kernels:
        e, host = kernel.estimate, kernel.host
        sent = (host.value, host.low, host.high) if host else (0.0, 0.0, 0.0)
        parts.append(Sums(e.value, e.low, e.high, *sent))
    return added(parts)


def added(parts: Sequence[Sums]) -> Sums:
    """Sums of sums, part by part."""
    return Sums(*map(sum, zip(*parts, strict=True))) if parts else Sums(0.0, 0.0, 0.0)
