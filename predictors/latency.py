"""Latency of an architecture on a target: the sum of its blocks' kernels."""

from __future__ import annotations

from dataclasses import dataclass

from hwprofile.blocks import BlockCost, Costs
from hwprofile.device import Target
from hwprofile.estimate import Estimate
from hwprofile.kernel import Kernel


@dataclass(frozen=True, slots=True)
class PricedKernel:
    """One launch with its price."""

    kernel: Kernel
    estimate: Estimate


class LatencyPredictor:
    """Prices blocks on one target, each once."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._blocks: dict[BlockCost, tuple[float, float, float]] = {}

    def latency(self, costs: Costs) -> Estimate:
        """Latency of one forward pass, in milliseconds, with its range."""
        value = low = high = 0.0
        for block in costs.blocks:
            price = self._blocks.get(block)
            if price is None:
                price = self._blocks[block] = self._price(block)
            value += price[0]
            low += price[1]
            high += price[2]
        return Estimate(value=value, low=low, high=high)

    def breakdown(self, costs: Costs) -> list[list[PricedKernel]]:
        """For every block its kernels with their prices, in the order they launch."""
        return [
            [PricedKernel(kernel, self.target.price(kernel)) for kernel in block.kernels]
            for block in costs.blocks
        ]

    def _price(self, block: BlockCost) -> tuple[float, float, float]:
        prices = [self.target.price(kernel) for kernel in block.kernels]
        return sum(p.value for p in prices), sum(p.low for p in prices), sum(p.high for p in prices)
