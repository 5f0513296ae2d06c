"""Fits the learned correction of one family, and judges it on rows kept out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks.latency.rows import Family
from hwprofile.trees import Trees

CLIP = 1.2
NOMINAL = 0.90


@dataclass(frozen=True)
class Size:
    """How large a correction is: few trees keep the file small and the price fast."""

    trees: int
    leaves: int
    rate: float
    loss: str = "squared_error"


SIZES = {
    "gemm.bf16": Size(trees=120, leaves=24, rate=0.12),
    "gemm.w8a8": Size(trees=100, leaves=16, rate=0.12),
    "gemm.w8": Size(trees=100, leaves=16, rate=0.12),
    "gemm.w4": Size(trees=100, leaves=16, rate=0.12),
    "alone.conv2d": Size(trees=60, leaves=8, rate=0.07, loss="absolute_error"),
    "alone.layer_norm": Size(trees=60, leaves=12, rate=0.12),
    "alone.softmax": Size(trees=60, leaves=12, rate=0.12),
}
"""Families with a correction. The element-wise ones need none: their form is right."""


def fit_trees(family: Family, chosen: np.ndarray) -> Trees | None:
    """A correction fitted on the rows in `chosen` (mask `[rows]`); None where none is wanted."""
    data = tree_data(family, chosen)
    return None if data is None else Trees(**data)


def tree_data(family: Family, chosen: np.ndarray) -> dict[str, Any] | None:
    """The content of the file of a correction fitted on the rows in `chosen`."""
    size = SIZES.get(family.name)
    if size is None:
        return None
    target = np.clip(np.log(family.time_us / family.prior_us), -CLIP, CLIP)
    model = HistGradientBoostingRegressor(
        loss=size.loss,
        max_iter=size.trees,
        learning_rate=size.rate,
        max_leaf_nodes=size.leaves,
        min_samples_leaf=10,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    ).fit(family.features[chosen], target[chosen])
    trees = [_nested(predictors[0].nodes, 0) for predictors in model._predictors]
    return {
        "features": list(family.feature_names),
        "base": round(float(np.ravel(model._baseline_prediction)[0]), 6),
        "clip": CLIP,
        "trees": trees,
    }


def predict(family: Family, trees: Trees | None) -> np.ndarray:
    """Predicted times of all rows, in microseconds `[rows]`."""
    if trees is None:
        return family.prior_us
    values = np.array([trees(row) for row in family.features.tolist()])
    return np.asarray(family.prior_us * np.exp(values))


def interval(ratio: np.ndarray) -> tuple[float, float]:
    """Split-conformal ends of measured over predicted time, from ratios kept out of the fit.

    The two tails are calibrated apart, each at half of what the range may miss, with the finite
    sample's rank (n + 1)(1 - a).
    """
    ordered = np.sort(ratio)
    count = len(ordered)
    miss = int(np.floor((count + 1) * (1.0 - NOMINAL) / 2.0))
    low, high = ordered[max(miss - 1, 0)], ordered[min(count - miss, count - 1)]
    return min(float(low), 1.0), max(float(high), 1.0)


@dataclass(frozen=True)
class Judged:
    """Errors of rows kept out, and the coverage of ranges calibrated on yet other rows."""

    family: str
    split: str
    rows: int
    median_error: float
    within_10: float
    within_20: float
    coverage: float
    prior_median_error: float
    prior_within_10: float
    roofline_median_error: float


def judge(family: Family, split: str) -> tuple[Judged, np.ndarray]:
    """Fits on three folds, calibrates on the fourth and judges on the fifth, five times over.

    Args:
        family: the rows.
        split: `shape` keeps groups of near-duplicate shapes together, `row` does not.

    Returns:
        The figures, and measured over predicted time of every row when kept out `[rows]`.
    """
    folds = family.group if split == "shape" else family.alone
    ratio = np.ones(len(folds))
    held = np.zeros(len(folds), dtype=bool)
    for test in range(5):
        calibrate = (test + 4) % 5
        fitted = (folds != test) & (folds != calibrate)
        predicted = predict(family, fit_trees(family, fitted))
        ratios = family.time_us / predicted
        low, high = interval(ratios[folds == calibrate])
        here = folds == test
        ratio[here] = ratios[here]
        held[here] = (ratios[here] >= low) & (ratios[here] <= high)
    error = np.abs(1.0 / ratio - 1.0)
    # Constants of the prior were fitted on the folds 0 to 2 of the groups: judge it on the others.
    clean = family.group >= 3
    prior = np.abs(family.prior_us / family.time_us - 1.0)[clean]
    roof = np.abs(family.roofline_us / family.time_us - 1.0)
    return (
        Judged(
            family=family.name,
            split=split,
            rows=len(ratio),
            median_error=float(np.median(error)),
            within_10=float(np.mean(error <= 0.10)),
            within_20=float(np.mean(error <= 0.20)),
            coverage=float(np.mean(held)),
            prior_median_error=float(np.median(prior)),
            prior_within_10=float(np.mean(prior <= 0.10)),
            roofline_median_error=float(np.median(roof)),
        ),
        ratio,
    )


def _nested(nodes: Any, index: int) -> Any:
    node = nodes[index]
    if node["is_leaf"]:
        return round(float(node["value"]), 5)
    # Six significant digits: thresholds lie between feature values far further apart.
    threshold = float(f"{float(node['num_threshold']):.6g}")
    return [
        int(node["feature_idx"]),
        threshold,
        _nested(nodes, int(node["left"])),
        _nested(nodes, int(node["right"])),
    ]
