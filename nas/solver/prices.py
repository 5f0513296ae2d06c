"""The prices at which a relaxation bounds best: a bundle method with a trust region.

The bound is convex and piecewise linear in the prices. Every design found so far is one of its
pieces; the lowest point of all pieces known, not far from the best prices, is tried next (Kelley's
method; Lemarechal et al., "New variants of bundle methods", 1995).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from nas.solver.box import Box
from nas.solver.lagrange import Prices, Relaxation, Way
from nas.solver.programme import Array, Design


@dataclass(slots=True)
class Tightened:
    """The best bound found for a box; minus infinity if it is proven to hold no feasible design."""

    bound: float
    prices: Prices
    designs: list[Design] = field(default_factory=list)
    """Designs that the relaxation mixes at these prices."""
    weights: list[float] = field(default_factory=list)
    seen: list[Design] = field(default_factory=list)
    """All designs met on the way."""
    way: Way | None = None
    """The relaxation at these prices; None if there is no design at all."""


def first_prices(relaxation: Relaxation, scale: float, depth: float) -> Prices:
    """Prices to begin with, where nothing is known.

    Args:
        relaxation: of the programme.
        scale: about what a design scores.
        depth: about how many convolutions it has.
    """
    count, scales = len(relaxation.limits), len(relaxation.scales)
    bounded = relaxation.programme.effectiveness is not None
    return Prices(
        np.full(count, scale / max(1, count)),
        np.zeros(scales),
        np.linspace(depth / scales, depth, scales) if bounded else np.ones(scales),
    )


def tighten(
    relaxation: Relaxation,
    box: Box,
    start: Prices,
    *,
    known: Iterable[Design] = (),
    enough: float = -math.inf,
    steps: int = 30,
    precision: float = 1e-4,
) -> Tightened:
    """Lower the bound of a box as far as the steps go.

    Args:
        relaxation: of the programme.
        box: whose designs are bounded.
        start: prices to begin with.
        known: designs of the box, whose pieces need not be found again.
        enough: a bound that is low enough to stop.
        steps: relaxations solved at most.
        precision: stop where the pieces known leave less to gain, as a part of the bound.
    """
    constant = relaxation.least_penalty(box)
    bundle = dict[Design, None].fromkeys(d for d in known if box.holds(d))
    best = start
    found = relaxation.bound(box, best)
    result = Tightened(found.value, best)
    if found.design is None:
        return result
    result.way = found.way
    bundle[found.design] = None
    result.seen.append(found.design)
    size = max(abs(found.value), 1.0)
    reach = 0.5
    for _ in range(steps - 1):
        if result.bound <= max(enough, relaxation.floor):
            break
        trial, expected, weights = _lowest(relaxation, box, bundle, best, constant, reach, size)
        result.designs, result.weights = list(weights), list(weights.values())
        if result.bound - expected < precision * size and reach >= 0.5:
            break
        found = relaxation.bound(box, trial)
        assert found.design is not None
        if found.design not in bundle:
            bundle[found.design] = None
            result.seen.append(found.design)
        gained = result.bound - found.value
        if gained > 0.1 * (result.bound - expected):
            reach = min(reach * 2.0, 4.0)
        elif gained <= 0:
            reach /= 3.0
        if gained > 0:
            result.bound, result.way, best = found.value, found.way, trial
        elif reach < 1e-4:
            break
    if result.bound < relaxation.floor:
        result.bound = -math.inf
    if not result.designs:
        result.designs, result.weights = result.seen[-1:], [1.0]
    result.prices = best
    return result


def _lowest(
    relaxation: Relaxation,
    box: Box,
    bundle: Iterable[Design],
    best: Prices,
    constant: float,
    reach: float,
    size: float,
) -> tuple[Prices, float, dict[Design, float]]:
    """Where the known pieces are lowest near the best prices, how low, and which meet there."""
    resources, programme = len(best.resources), relaxation.programme
    slacks = [relaxation.slack(design, best, box) for design in bundle]
    scales = np.flatnonzero(_binding(slacks, best)) if len(best.scales) else np.zeros(0, int)
    even = relaxation.evenness(box, best.spread)
    # What the lower bound of the penalty takes less than the least penalty, for each design.
    relief = [
        0.0 if even is None else constant - even.of(programme.depths(design)) for design in bundle
    ]
    slopes = np.array(
        [[*r, *s[scales], *t, less] for (r, s, t), less in zip(slacks, relief, strict=True)]
    )
    raw = np.array([programme.totals(design).raw for design in bundle]) - constant
    here = np.array([*best.resources, *best.scales[scales], *best.totals, best.evenness])
    unit = np.array(
        [
            *np.full(resources, size),
            *np.full(len(scales), size / 100.0),
            *np.full(2, size / 20.0),
            1.0,
        ]
    )
    span = reach * np.maximum(here, 0.02 * unit)
    span[-1] = reach
    low, high = np.maximum(0.0, here - span), here + span
    high[-1] = min(1.0, high[-1]) if even is not None else 0.0
    least, most = box.extent()
    high[-3:-1] *= [box.total[0] > least, box.total[1] < most]
    low = np.minimum(low, high)
    # Variables: prices in their own unit, then the bound; all of it over `size`.
    cost = np.zeros(len(here) + 1)
    cost[-1] = 1.0
    rows = np.hstack([slopes * unit / size, -np.ones((len(raw), 1))])
    limits = [*zip(low / unit, high / unit, strict=True), (None, None)]
    solved = linprog(cost, A_ub=rows, b_ub=-raw / size, bounds=limits, method="highs")
    if solved.status != 0:
        raise ArithmeticError(f"the bundle's linear programme failed: {solved.message}")
    prices = solved.x[:-1] * unit
    new = best.scales.copy()
    new[scales] = prices[resources:-3]
    trial = replace(
        best,
        resources=prices[:resources],
        scales=new,
        totals=(float(prices[-3]), float(prices[-2])),
        evenness=float(np.clip(prices[-1], 0, 1)),
    )
    weights = -np.asarray(solved.ineqlin.marginals)
    active = {d: float(w) for d, w in zip(bundle, weights, strict=True) if w > 1e-9}
    return trial, float(solved.x[-1]) * size, active


def _binding(slacks: list[tuple[Array, Array, Array]], best: Prices) -> NDArray[np.bool_]:
    """Scales whose effectiveness some known design exceeds, or that have a price already."""
    exceeded = np.array([scales < 0 for _, scales, _ in slacks]).any(axis=0)
    binding: NDArray[np.bool_] = exceeded | (best.scales > 0)
    return binding
