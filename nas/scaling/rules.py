"""Published scaling rules: what one number makes of depth, width and resolution.

Each keeps d · w² · r² = s, by which the multiply-adds of a plain convolutional network grow: its
layers are d times as many, its features w times, its input's height and width r times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import log, sqrt
from types import MappingProxyType

from searchspace.scaled import Factors

FAST_ALPHA = 0.8
"""Where fast compound scaling puts its weight, by the paper's choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way to scale."""

    name: str
    """Name, for people."""
    factors: Callable[[float], Factors]
    """From the scale, above 0, to what it multiplies."""
    pixels: int
    """Sizes of the input are multiples of this, where the network takes them."""
    most: float = float("inf")
    """Largest scale that it is meant for."""


def fast(alpha: float = FAST_ALPHA) -> Rule:
    """Fast compound scaling: mostly wider, so that activations grow least.

    Dollár, Singh, Girshick: Fast and Accurate Model Scaling (arXiv 2103.06877), table 4: with
    e_d = e_r = (1 - α) / 2 and e_w = α, depth is multiplied by s^e_d, width by √s^e_w and
    resolution by √s^e_r. α = 1 scales the width alone, 1/3 is uniform compound scaling, 0.8 is the
    paper's. Groups widen with the features, as in the authors' code, which also rounds the size of
    the input to multiples of 4.

    Args:
        alpha: how much goes to the width, from 0 to 1.

    Raises:
        ValueError: `alpha` lies outside of that.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1; got {alpha:g}")
    rest = (1 - alpha) / 2

    def factors(s: float) -> Factors:
        width = s ** (alpha / 2)
        return Factors(depth=s**rest, width=width, resolution=s ** (rest / 2), group=width)

    return Rule(name=f"fast, α = {alpha:g}", factors=factors, pixels=4)


TINY = (
    # Resolution, depth, width of TinyNet-E to A.
    (0.475, 0.6, 0.51),
    (0.68, 0.695, 0.54),
    (0.825, 0.85, 0.54),
    (0.84, 1.1, 0.75),
    (0.86, 1.2, 1.0),
)
"""The published TinyNets against EfficientNet-B0: the paper's table and the authors' code."""


def tiny() -> Rule:
    """The tiny formula, for shrinking: resolution and depth are kept longest.

    Han et al.: Model Rubik's Cube (arXiv 2010.14819): r(c) and d(c) are regressed on the
    best of many small networks, and w(c) = √(c / (r² d)) for 0 < c <= 1. The paper prints no
    constants of its Gaussian processes. So r and d are here interpolated, linearly in log c,
    between the five networks that it published, which are met exactly, and are constant beyond
    them. c is d · w² · r², not the ratio of traced multiply-adds, which the programme looks after.
    The authors keep the widths of stem and head; here all are scaled.
    """
    points = [(r * r * d * w * w, r, d) for r, d, w in TINY]

    def factors(c: float) -> Factors:
        resolution = _between([(at, r) for at, r, _ in points], c)
        depth = _between([(at, d) for at, _, d in points], c)
        width = sqrt(c / (resolution**2 * depth))
        return Factors(depth=depth, width=width, resolution=resolution, group=width)

    return Rule(name="tiny", factors=factors, pixels=2, most=1.0)


RULES: Mapping[str, Callable[..., Rule]] = MappingProxyType({"fast": fast, "tiny": tiny})
"""Rules by the name that a user types."""


def _between(points: list[tuple[float, float]], c: float) -> float:
    """Linear in log c between points that rise, constant beyond them."""
    if c <= points[0][0]:
        return points[0][1]
    for (low, a), (high, b) in pairwise(points):
        if c <= high:
            return a + (b - a) * log(c / low) / log(high / low)
    return points[-1][1]
