"""The penalty on unequal depths from below, as a sum over layers: what a relaxation can take.

The penalty is f(q) = P exp(sqrt(q / G)), where q is the sum of (d - mean)^2 over the G depths d
that are above 0. With S their sum, q = sum d^2 - S^2 / G. Where S lies in [S1, S2], S^2 is at most
(S1 + S2) S - S1 S2, so that

    q >= sum d^2 - ((S1 + S2) S - S1 S2) / G,

equal at both ends; and tangents of the convex envelope of f lie below f. A bound by the mean depths
of some designs would say little, as two that are deep in unlike places are even on average. This
is the mean of their own penalties.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.solver.programme import Array

Ends = tuple[float, float]
"""Least and largest."""
_TURN = 1.59362426004004
"""The u > 0 with 1 + u exp(u) / 2 = exp(u): f's envelope is a line from u = 0 to here."""
_STEEP = 300.0
"""No tangent touches where a depth deviates by more: its numbers would overflow."""


@dataclass(frozen=True, slots=True)
class Evenness:
    """The penalty is at least constant + sum over layers of curve d^2 - slope d."""

    constant: float
    curve: float
    slope: float
    looseness: float = 0.0
    """How far it may lie below what it stands for, as S is only known to be in a range."""

    def of(self, depths: Iterable[float]) -> float:
        """The lower bound for some depths."""
        return self.constant + sum(self.curve * d * d - self.slope * d for d in depths)

    def scaled(self, part: float) -> Evenness:
        """A part of it."""
        return Evenness(part * self.constant, part * self.curve, part * self.slope)

    def worth(self, blocks: Ends, copies: tuple[int, int], each: float) -> Array:
        """What numbers of further copies are worth, from the least to the largest; concave.

        Args:
            blocks: what the first copy may count as; the best between is taken.
            copies: least and largest number of further ones.
            each: what one more is worth besides.
        """
        count = np.arange(copies[0], copies[1] + 1, dtype=float)
        first = np.full(len(count), blocks[1])
        if self.curve > 0:
            first = np.clip(self.slope / (2 * self.curve) - count, *blocks)
        depth = first + count
        worth: Array = each * count - self.curve * depth**2 + self.slope * depth
        return worth


NONE = Evenness(0.0, 0.0, 0.0)
"""For layers at which the penalty does not look."""


def evenness(penalty: float, depths: Sequence[Ends], total: Ends, spread: float) -> Evenness | None:
    """The bound that is closest at some spread; None where all depths may be 0.

    Args:
        penalty: its factor P.
        depths: what each may be.
        total: what their sum may be.
        spread: the q at which it touches.
    """
    least = sum(low > 0 for low, _ in depths)
    most = sum(high > 0 for _, high in depths)
    if not least:
        return None
    low, high = max(total[0], sum(d[0] for d in depths)), min(total[1], sum(d[1] for d in depths))
    deviation = min(_STEEP, math.sqrt(max(0.0, spread) / most))
    turn = max(deviation, _TURN)
    # f' at the point of contact, and the tangent's height at q = 0.
    rise = penalty * math.exp(turn) / (2 * turn * most)
    height = penalty * math.exp(turn) - rise * turn**2 * most
    loose = rise * (high - low) ** 2 / (4 * least)
    return Evenness(height + rise * low * high / least, rise, rise * (low + high) / least, loose)


def spread(depths: Sequence[float]) -> float:
    """The q of some depths."""
    found = [depth for depth in depths if depth > 0]
    mean = sum(found) / max(1, len(found))
    return sum((depth - mean) ** 2 for depth in found)
