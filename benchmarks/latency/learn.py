"""Fits the learned correction of one family, and judges it and its ranges on rows kept out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.latency.boost import Size, boost
from benchmarks.latency.rows import Family
from hwprofile.gemm import Array
from hwprofile.spread import SizedSpread
from hwprofile.trees import Trees

Mask = NDArray[np.bool_]
CLIP = 1.2
NOMINAL = 0.90

_PRODUCT = Size(trees=400, depth=7, rate=0.1, shrink=3.0)
_ELSEWHERE = Size(trees=150, depth=6, rate=0.15)
"""Products on devices other than the A100: a smaller file."""
_QUANTIZED = Size(trees=200, depth=5, rate=0.1)
_STREAM = Size(trees=100, depth=4, rate=0.1, columns=1.0)
SIZES = {
    "gemm.bf16": _PRODUCT,
    "gemm.w8a8": _QUANTIZED,
    "gemm.w8": _QUANTIZED,
    "gemm.w4": _QUANTIZED,
    "alone.conv2d": Size(trees=60, depth=4, rate=0.07, robust=True),
    "alone.layer_norm": _STREAM,
    "alone.softmax": _STREAM,
}
"""Families with a correction. The element-wise ones need none: their form is right."""


def tree_data(family: Family, chosen: Mask) -> dict[str, Any] | None:
    """The content of the file of a correction fitted on the rows in `chosen` (mask `[rows]`).

    None where the family wants no correction.
    """
    size = SIZES.get(family.name)
    if size is None:
        return None
    if size is _PRODUCT and family.device != "a100":
        size = _ELSEWHERE
    target = np.clip(np.log(family.time_us / family.prior_us), -CLIP, CLIP)
    return boost(family.feature_names, family.features[chosen], target[chosen], size, CLIP)


def predict(family: Family, data: dict[str, Any] | None, chosen: Mask) -> Array:
    """Predicted times of the rows in `chosen` (mask `[rows]`), in microseconds."""
    prior = family.prior_us[chosen]
    if data is None:
        return prior
    return np.asarray(prior * np.exp(Trees(**data)(family.features[chosen])))


@dataclass(frozen=True)
class Judged:
    """Errors of rows kept out, and the coverage of ranges calibrated on yet other rows."""

    device: str
    family: str
    split: str
    rows: int
    median_error: float
    within_10: float
    within_20: float
    coverage: float
    coverage_small: float
    """Coverage among the fifth of the rows with the lowest prices."""
    prior_median_error: float
    prior_within_10: float
    roofline_median_error: float
    reached: tuple[float, ...]
    """Observed coverage at each of `NOMINALS`."""


NOMINALS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Held:
    """Rows when kept out of the fit."""

    price_us: Array
    """Predicted time `[rows]`."""
    log_ratio: Array
    """log(measured / predicted) `[rows]`."""


def judge(family: Family, split: str) -> tuple[Judged, Held]:
    """Fits on four folds and prices the fifth, five times over; calibrates each fold on the others.

    Args:
        family: the rows.
        split: `shape` keeps groups of near-duplicate shapes together, `row` does not.

    Returns:
        The figures, and every row when kept out.
    """
    folds = family.group if split == "shape" else family.alone
    price, ratio = np.ones(len(folds)), np.zeros(len(folds))
    for test in range(5):
        here = folds == test
        price[here] = predict(family, tree_data(family, ~here), here)
        ratio[here] = np.log(family.time_us[here] / price[here])
    held = np.zeros((len(NOMINALS), len(folds)), dtype=bool)
    for test in range(5):
        here = folds == test
        spread = SizedSpread.of_rows(price[~here].tolist(), ratio[~here].tolist())
        places = [spread.place(us) for us in price[here]]
        for row, nominal in enumerate(NOMINALS):
            ends = np.log(spread.ends(nominal))[places]
            held[row, here] = (ratio[here] >= ends[:, 0]) & (ratio[here] <= ends[:, 1])
    error = np.abs(np.expm1(-ratio))
    inside = held[NOMINALS.index(NOMINAL)]
    small = price <= np.quantile(price, 0.2)
    # Constants of the prior were fitted on the folds 0 to 2 of the groups: judge it on the others.
    clean = family.group >= 3
    prior = np.abs(family.prior_us / family.time_us - 1.0)[clean]
    roof = np.abs(family.roofline_us / family.time_us - 1.0)
    judged = Judged(
        device=family.device,
        family=family.name,
        split=split,
        rows=len(ratio),
        median_error=float(np.median(error)),
        within_10=float(np.mean(error <= 0.10)),
        within_20=float(np.mean(error <= 0.20)),
        coverage=float(np.mean(inside)),
        coverage_small=float(np.mean(inside[small])),
        prior_median_error=float(np.median(prior)),
        prior_within_10=float(np.mean(prior <= 0.10)),
        roofline_median_error=float(np.median(roof)),
        reached=tuple(held.mean(axis=1).tolist()),
    )
    return judged, Held(price, ratio)
