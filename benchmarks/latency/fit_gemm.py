"""Fits the constants of products on the rows of any devices, each of which counts alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from benchmarks.latency.rows import SCHEMES, fold, gemm_rows
from hwprofile.device import load_device
from hwprofile.gemm import Array, GemmConstants, GemmLimits, plan_gemms
from hwprofile.wave import limits

DEVICES: dict[str, tuple[str, ...]] = {
    "bf16": ("a100", "l40s", "h100", "h200", "b200"),
    **dict.fromkeys(SCHEMES, ("a100", "l40s", "h200")),
}
"""Devices with rows of products, by scheme."""
GEMM_START = {
    "floor_cycles": 3400.0,
    "ramp_cycles": 120.0,
    "compute_efficiency": 1.0,
    "tile_half": 12.0,
    "step_cycles": 60.0,
    "tile_cycles": 1500.0,
    "l2_efficiency": 0.4,
    "dram_efficiency": 0.85,
    "dram_half": 0.25,
    "split_cycles": 5500.0,
    "vector_cycles": 1300.0,
    "overlap": 2.2,
    "l2_share": 0.1,
    "l2_slope": 0.7,
}
"""Where the search begins; it ends within a factor of `REACH`."""
REACH = 2.5
SCHEME_CONSTANTS = (
    "floor_cycles",
    "compute_efficiency",
    "step_cycles",
    "dram_efficiency",
    "l2_efficiency",
)
Products = tuple[GemmLimits, Array, Array, Array, Array]
"""A device's limits, and sizes and times of some of its rows."""


def products(data: Path, scheme: str, devices: Sequence[str], count: int) -> list[Products]:
    """The same number of rows of each device, of the folds 0 to 2."""
    found = []
    for device in devices:
        rows = np.stack(gemm_rows(data, scheme, device))
        kept = np.array([fold(int(n), int(k)) < 3 for n, k in rows[1:3].T])
        chosen = np.random.default_rng(0).permutation(np.flatnonzero(kept))[:count]
        m, n, k, time = rows[:, chosen]
        found.append((limits(load_device(device), scheme), m, n, k, time))
    return found


def log_ratios(rows: Products, constants: GemmConstants) -> Array:
    """log(measured / predicted) of a device's rows."""
    lim, m, n, k, time = rows
    return np.log(time / plan_gemms(m, n, k, np.ones_like(m), lim, constants).time_us)


def fit_gemm(rows: Sequence[Products], start: GemmConstants, names: Sequence[str]) -> GemmConstants:
    """`start` with the constants in `names` fitted; every device counts alike."""
    first = np.log([getattr(start, name) for name in names])

    def changed(logs: Array) -> GemmConstants:
        values = [float(f"{value:.4g}") for value in np.exp(logs)]
        return replace(start, **dict(zip(names, values, strict=True)))

    def loss(logs: Array) -> float:
        constants = changed(logs)
        # Capped: a few rows that the model cannot explain must not bend the others.
        errors = [np.minimum(np.abs(log_ratios(part, constants)), 0.6).mean() for part in rows]
        return float(np.mean(errors))

    reach = math.log(REACH)
    found = minimize(
        loss,
        first,
        method="Powell",
        bounds=[(value - reach, value + reach) for value in first],
        options={"maxfev": 60 * len(names), "ftol": 1e-4, "xtol": 1e-3},
    )
    return changed(found.x)


def fit_base(data: Path, devices: Sequence[str]) -> GemmConstants:
    """The wave model's constants on the bf16 rows of some devices."""
    start = GemmConstants(**GEMM_START)
    return fit_gemm(products(data, "bf16", devices, 300), start, list(GEMM_START))


def fit_scheme(
    data: Path, scheme: str, base: GemmConstants, devices: Sequence[str]
) -> GemmConstants:
    """`base` with the constants that another kernel family changes."""
    # These rows were timed with the events around a launch: their floor is three times as high.
    start = replace(base, floor_cycles=10_000.0)
    return fit_gemm(products(data, scheme, devices, 300), start, SCHEME_CONSTANTS)
