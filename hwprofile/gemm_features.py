"""What a learned correction of a product sees: its sizes, the parts of its plan, fills of tiles.

All but the plain sizes are shares and counts, which mean the same on every device: a correction for
devices without rows sees `SCALE_FREE` alone.
"""

from __future__ import annotations

import numpy as np

from hwprofile.gemm import Array, GemmLimits, GemmPlans

_TILES = ((256, 128), (128, 256), (128, 128), (128, 64), (64, 128), (64, 64))
_SIZES = ("log_m", "log_n", "log_k", "log_outputs", "log_weights", "log_inputs")

SCALE_FREE: tuple[str, ...] = (
    *("log_cycles", "compute", "l2", "dram", "runner_up"),
    *("tile_rows", "tile_columns", "split", "log_ctas_per_sm", "sm_fill", "wave_fill", "per_sm"),
    *("log_sets_in_l2", "log_weights_in_l2"),
    *("odd_rows", "rows_by_8", "rows_in_64", "rows_in_128", "rows_in_256"),
    *(f"{what}_{bm}x{bn}" for bm, bn in _TILES for what in ("fill", "waves")),
)
FEATURES: tuple[str, ...] = (*_SIZES, *SCALE_FREE)
"""Names of the columns of `gemm_features`, in order. Logarithms are to base 2."""


def gemm_features(m: Array, n: Array, k: Array, plans: GemmPlans, limits: GemmLimits) -> Array:
    """The features `[products, features]` of single products `[m, k] · [k, n]`, each `[products]`.

    Args:
        m: rows.
        n: columns.
        k: length of the sum.
        plans: their plans.
        limits: the device's rates for the scheme.
    """
    log_m, log_n, log_k = np.log2(m), np.log2(n), np.log2(k)
    per_sm = plans.ctas / limits.sms
    waves = per_sm / plans.resident
    weights = n * k * limits.weight_bytes
    columns = [
        *(log_m, log_n, log_k, log_m + log_n, log_n + log_k, log_m + log_k),
        np.log2(plans.time_us * limits.cycles_per_us),
        plans.compute_us / plans.time_us,
        plans.l2_us / plans.time_us,
        plans.dram_us / plans.time_us,
        plans.runner_up_us / plans.time_us,
        *(plans.bm, plans.bn, plans.split, np.log2(per_sm)),
        per_sm / np.ceil(per_sm),
        waves / np.ceil(waves),
        np.minimum(np.ceil(per_sm), 30.0),
        np.log2(plans.sets_bytes / limits.l2_bytes),
        np.log2(weights / limits.l2_bytes),
        m % 2,
        (m % 8 == 0).astype(float),
        *(m / (size * np.ceil(m / size)) for size in (64, 128, 256)),
    ]
    for bm, bn in _TILES:
        tiles = np.ceil(m / bm) * np.ceil(n / bn)
        rounds = np.ceil(tiles / limits.sms)
        columns += [m * n / (bm * bn * limits.sms * rounds), np.minimum(rounds, 12.0)]
    return np.stack(columns, axis=1)
