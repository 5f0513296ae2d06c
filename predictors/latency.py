"""Latency of an architecture on a target: the sum of its blocks' kernels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hwprofile.blocks import BlockCost, Costs
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

    def latency(self, costs: Costs) -> Estimate:
        """Latency of one forward pass, in milliseconds, with its range."""
        blocks = self._blocks
        parts = [blocks.get(block) or self._add(block) for block in costs.blocks]
        return added(parts).total()

    def host_bound(self, costs: Costs) -> bool:
        """Whether the host takes longer than the device: its time is then the latency."""
        sums = added([self._blocks.get(block) or self._add(block) for block in costs.blocks])
        return sums.host > sums.value

    def breakdown(self, costs: Costs) -> list[list[PricedKernel]]:
        """For every block its kernels with their prices, in the order they launch."""
        return [priced(self.target, block.kernels) for block in costs.blocks]

    def _add(self, block: BlockCost) -> Sums:
        found = self._blocks[block] = sums_of(priced(self.target, block.kernels))
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
