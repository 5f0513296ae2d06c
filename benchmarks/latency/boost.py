"""Fits the symmetric trees of `hwprofile.trees` by gradient boosting on binned features.

Friedman, "Greedy function approximation: a gradient boosting machine" (2001), with squared error
and leaves shrunk towards zero; a level's question is the one that lowers the error of all leaves
together the most (Dorogush et al. 2018). Made here because no library at hand writes such trees in
a form that numpy alone can evaluate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwprofile.trees import STEP

Array = NDArray[np.float64]
BINS = 64


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a correction is and how carefully it learns."""

    trees: int
    depth: int
    rate: float
    """Share of each tree's answer that is kept."""
    shrink: float = 5.0
    """Rows of no residual that each leaf is averaged with."""
    columns: float = 0.4
    """Share of the features that each question may choose from."""
    robust: bool = False
    """Whether the larger half of the residuals count as their median, signs kept."""


def boost(
    names: Sequence[str], features: Array, target: Array, size: Size, clip: float
) -> dict[str, Any]:
    """The content of the file of a correction.

    Args:
        names: the features' names.
        features: `[rows, features]`.
        target: what the trees' sum should be `[rows]`.
        size: how many trees of which kind.
        clip: bound of the answer.
    """
    generator = np.random.default_rng(0)
    edges = [_edges(column) for column in features.T]
    binned = [np.searchsorted(e, x) for e, x in zip(edges, features.T, strict=True)]
    chosen = max(1, round(size.columns * len(edges)))
    base = float(np.median(target) if size.robust else target.mean())
    predicted = np.full(len(target), base)
    trees = []
    for _ in range(size.trees):
        residual = target - predicted
        if size.robust:
            most = float(np.median(np.abs(residual)))
            residual = np.clip(residual, -most, most)
        leaf = np.zeros(len(target), dtype=np.int64)
        questions = []
        for _ in range(size.depth):
            candidates = generator.permutation(len(edges))[:chosen]
            feature, bin_ = _question(candidates, binned, edges, leaf, residual, size.shrink)
            questions.append([feature, float(f"{edges[feature][bin_]:.6g}")])
            leaf = leaf * 2 + (features[:, feature] > questions[-1][1])
        count = 2**size.depth
        sums = np.bincount(leaf, residual, count)
        values = size.rate * sums / (np.bincount(leaf, minlength=count) + size.shrink)
        steps = np.rint(values / STEP)
        predicted += steps[leaf] * STEP
        trees.append([questions, steps.astype(int).tolist()])
    return {"features": list(names), "base": round(base, 6), "clip": clip, "trees": trees}


def _edges(column: Array) -> Array:
    """Thresholds between distinct values, at most `BINS` of them, with equal shares of the rows."""
    values = np.unique(column)
    if len(values) < 2:
        return values
    at = np.arange(len(values) - 1)
    if len(values) > BINS:
        shares = np.linspace(0, 1, BINS + 1)[1:-1]
        cut = np.quantile(column, shares, method="inverted_cdf")
        at = np.unique(np.searchsorted(values[:-1], cut).clip(max=len(values) - 2))
    return np.asarray((values[at] + values[at + 1]) / 2)


def _question(
    candidates: NDArray[np.int64],
    binned: Sequence[NDArray[np.int64]],
    edges: Sequence[Array],
    leaf: NDArray[np.int64],
    residual: Array,
    shrink: float,
) -> tuple[int, int]:
    """The feature and the edge that divide all leaves with the lowest error."""
    leaves, width = int(leaf.max()) + 1, BINS + 1
    best, found = -np.inf, (int(candidates[0]), 0)
    for feature in np.sort(candidates).tolist():
        if len(edges[feature]) == 0 or binned[feature].max() == 0:
            continue
        place = leaf * width + binned[feature]
        below = np.bincount(place, residual, leaves * width).reshape(leaves, width).cumsum(axis=1)
        count = np.bincount(place, minlength=leaves * width).reshape(leaves, width).cumsum(axis=1)
        above, rest = below[:, -1:] - below, count[:, -1:] - count
        gain = (below**2 / (count + shrink) + above**2 / (rest + shrink)).sum(axis=0)
        gain = gain[: len(edges[feature])]
        edge = int(gain.argmax())
        if gain[edge] > best:
            best, found = float(gain[edge]), (feature, edge)
    return found
