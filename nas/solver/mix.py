"""Stages of unlike blocks: the copies of a layer are shared out among its modes.

With its states, its depths and its first blocks fixed, a design's best mixture is a small integer
linear programme. The bound of `nas.solver.branch` holds for mixtures too: at any prices, a row of
blocks that are each free to choose is worth most where all make the same choice.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from nas.solver.programme import Array, Design, Figures, Programme

Mixture = Mapping[int, Mapping[int, int]]
"""By layer: how many of its further copies are of which mode."""
_ROUNDS = 8
"""Times that tangents of the effectiveness are added."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """A design whose further copies may differ from its first blocks."""

    design: Design
    mixture: Mixture
    figures: Figures


def mix(
    programme: Programme, design: Design, layers: Collection[int], seconds: float = 2.0
) -> Mixed | None:
    """The best mixture of a design; None if none keeps all bounds.

    Args:
        programme: whose bounds hold.
        design: whose states, depths and first blocks are kept; it need not keep the bounds.
        layers: which layers' copies may be of any mode.
        seconds: time for each integer programme.
    """
    choices = _Choices(programme, design, layers)
    if not choices.places:
        return None
    cuts: list[tuple[int, float]] = [
        (scale, depth)
        for scale in range(len(choices.scales))
        for depth in np.linspace(*choices.depths(scale), 8)
        if depth > 0
    ]
    for _ in range(_ROUNDS):
        counts = choices.solve(cuts, seconds)
        if counts is None:
            return None
        figures = choices.figures(counts)
        if not programme.excess(figures):
            return Mixed(design, choices.mixture(counts), figures)
        cuts += [(scale, choices.depth(scale, counts)) for scale in range(len(choices.scales))]
    return None


class _Choices:
    """What the further copies of a design can be, as columns of an integer programme."""

    def __init__(self, programme: Programme, design: Design, layers: Collection[int]) -> None:
        self.programme, self.design = programme, design
        self.scales = [i for i, layer in enumerate(programme.layers) if layer.volume is not None]
        self.places: list[tuple[int, int]] = []
        """Layer and mode of each column."""
        for index in sorted(layers):
            layer, step = programme.layers[index], design[index]
            if layer.again is not None and step.copies:
                self.places += [
                    (index, mode)
                    for mode in range(layer.shape[2])
                    if layer.allowed.at(step.source, step.target, mode) == 0.0
                ]
        chosen = {index for index, _ in self.places}
        self.base = tuple(
            step._replace(copies=0) if index in chosen else step
            for index, step in enumerate(design)
        )
        self.totals = programme.totals(self.base)
        self.wanted = {index: design[index].copies for index in chosen}
        self.penalty = programme.unevenness(programme.depths(design))
        again = [programme.layers[index].again for index, _ in self.places]
        self.columns = [
            (a, design[index].target, mode)
            for a, (index, mode) in zip(again, self.places, strict=True)
            if a is not None
        ]

    def _row(self, scale: int, name: str) -> Array:
        """What each column adds to a sum up to the end of a scale."""
        end = self.scales[scale]
        return np.array(
            [
                float(getattr(again, name)[target, mode]) if index <= end else 0.0
                for (index, _), (again, target, mode) in zip(self.places, self.columns, strict=True)
            ]
        )

    def solve(self, cuts: list[tuple[int, float]], seconds: float) -> Array | None:
        """How many copies of each column; None if there is no way."""
        programme = self.programme
        gain = np.zeros(len(self.places))
        for scale, end in enumerate(self.scales):
            volumes = programme.layers[end].volume
            assert volumes is not None
            gain += float(volumes[self.design[end].target]) * self._row(scale, "entropy")
        constraints = []
        for number, resource in enumerate(programme.resources):
            row = np.array([float(a.costs[number, t, m]) for a, t, m in self.columns])
            left = (resource.limit - self.totals.used[number]) / resource.limit
            constraints.append(LinearConstraint(row / resource.limit, ub=left))
        for index, count in self.wanted.items():
            row = np.array([float(place[0] == index) for place in self.places])
            constraints.append(LinearConstraint(row, lb=count, ub=count))
        rho = programme.effectiveness
        for scale, depth in cuts if rho is not None else []:
            assert rho is not None
            slope = math.log(depth / rho) + 1.0
            row = self._row(scale, "log_width") - slope * self._row(scale, "convs")
            have = self.totals.log_width[scale] - slope * self.totals.convs[scale]
            constraints.append(LinearConstraint(row, lb=-depth - have))
        solved = milp(
            -gain / max(1.0, float(np.abs(gain).max())),
            constraints=constraints,
            integrality=np.ones(len(gain)),
            bounds=Bounds(0, max(self.wanted.values())),
            options={"time_limit": seconds, "mip_rel_gap": 1e-6},
        )
        return None if solved.x is None else np.round(solved.x)

    def depths(self, scale: int) -> tuple[float, float]:
        """Least and largest number of convolutions up to the end of a scale."""
        row, base = self._row(scale, "convs"), self.totals.convs[scale]
        low = high = base
        for index, count in self.wanted.items():
            here = [c for c, place in zip(row, self.places, strict=True) if place[0] == index]
            low, high = low + count * min(here), high + count * max(here)
        return low, high

    def depth(self, scale: int, counts: Array) -> float:
        """Convolutions up to the end of a scale."""
        return max(1e-6, self.totals.convs[scale] + float(self._row(scale, "convs") @ counts))

    def figures(self, counts: Array) -> Figures:
        """Score and use of a mixture."""
        programme, worst, score = self.programme, 0.0, self.totals.raw
        for scale, end in enumerate(self.scales):
            volumes = programme.layers[end].volume
            assert volumes is not None
            volume = float(volumes[self.design[end].target])
            score += volume * float(self._row(scale, "entropy") @ counts)
            width = self.totals.log_width[scale] + float(self._row(scale, "log_width") @ counts)
            convs = self.depth(scale, counts)
            worst = max(worst, convs / math.exp(width / convs))
        used = tuple(
            self.totals.used[r]
            + float(np.array([a.costs[r, t, m] for a, t, m in self.columns]) @ counts)
            for r in range(len(programme.resources))
        )
        return Figures(score=score - self.penalty, used=used, effectiveness=worst)

    def mixture(self, counts: Array) -> Mixture:
        """The counts by layer and mode."""
        found: dict[int, dict[int, int]] = {}
        for (index, mode), count in zip(self.places, counts, strict=True):
            if count:
                found.setdefault(index, {})[mode] = int(count)
        return found
