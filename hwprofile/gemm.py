"""Time of matrix products: the best of a menu of tiles and splits, by tiles and waves.

Legend: `m`, `n`, `k` product; `bm`, `bn` tile; CTA = one thread block = one output tile (or one
part of its sum, when `k` is split). Times are microseconds, latencies of the chip are cycles of its
boost clock: what a launch, a step or a tile takes is nearly the same count on every device.

For one candidate (tile, split s):

    ctas    = ceil(m/bm) · ceil(n/bn) · groups · s
    waves   = CTAs that the busiest SM runs one after another, `resident` at a time
    compute = waves · steps · max(tile work / SM rate, latency of one step)
    l2      = bytes that all CTAs load / L2 bandwidth
    dram    = bytes moved once, but for those that L2 kept / (DRAM bandwidth, less while few CTAs
              are in flight)
    time    = floor + ramp + (compute^p + l2^p + dram^p)^(1/p) + split reduction

and the library is taken to run the cheapest candidate. The p-norm stands for imperfect overlap.
All functions work on arrays `[products]` at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

K_STEP = 32
"""Length of the sum between two barriers of a tensor-core main loop, in elements of 16 bits."""

SETS = 6
"""Sets of operands that take turns in the published tables: what of all of them stays in L2 is not
read from DRAM again."""

Menu = tuple[tuple[int, int, int], ...]

TILES: Menu = (
    # rows, columns, CTAs resident on one SM: what registers and shared memory of sm_80 allow.
    (256, 128, 1),
    (128, 256, 1),
    (128, 128, 2),
    (256, 64, 2),
    (64, 256, 2),
    (128, 64, 3),
    (64, 128, 3),
    (64, 64, 4),
    (32, 128, 4),
    (32, 64, 6),
    (16, 64, 8),
)
"""The menu: shapes that CUTLASS and cuBLAS ship for tensor cores of sm_80."""


SIMT_TILES: Menu = (
    (128, 128, 2),
    (128, 64, 3),
    (64, 64, 4),
    (128, 32, 4),
    (32, 32, 8),
)
"""The menu of fp32 on CUDA cores, after the kernel names in cuDNN and cuBLAS traces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmConstants:
    """What the wave model cannot read from a datasheet; fitted, see `benchmarks/latency/fit.py`."""

    floor_cycles: float
    """A launch that does nothing, in a CUDA graph."""
    ramp_cycles: float
    """Filling the first pipeline stages and draining the last tile; tiled products only."""
    compute_efficiency: float
    """Rate of an endless main loop on an endless tile, as a share of the published peak. It may
    pass one: no tile of the menu is endless, and `tile_half` takes its part from all of them."""
    tile_half: float
    """Tile intensity bm·bn/(bm+bn), in elements, at which half of that rate is reached."""
    step_cycles: float
    """Shortest step of the main loop, whatever the tile."""
    tile_cycles: float
    """Between two tiles on one SM: epilogue and start of the next."""
    l2_efficiency: float
    """Share of the nominal L2 bandwidth reached."""
    dram_efficiency: float
    """Share of the published DRAM bandwidth reached with all SMs loading."""
    dram_half: float
    """CTAs in flight per SM at which half of the reachable bandwidth is reached."""
    split_cycles: float
    """Second pass that adds the parts of a split sum."""
    vector_cycles: float
    """Walk along 1,024 elements of the sum in a matrix-vector kernel."""
    overlap: float
    """Exponent p of the norm; infinity would be perfect overlap."""
    l2_share: float
    """Size of the `SETS`, as a share of the L2 cache, at which half of their bytes stay in it."""
    l2_slope: float
    """How sharply the rest goes to DRAM with their size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmLimits:
    """What the device allows to one scheme, in units per microsecond."""

    sms: int
    """Streaming multiprocessors."""
    cycles_per_us: float
    """Boost clock in MHz."""
    macs_per_us: float
    """Multiply-adds per microsecond of the whole device, at the published peak."""
    l2_bytes: float
    """Size of the L2 cache."""
    l2_bytes_per_us: float
    """Nominal L2 bandwidth."""
    dram_bytes_per_us: float
    """Published DRAM bandwidth."""
    act_bytes: float
    """Bytes of one input activation."""
    weight_bytes: float
    """Bytes of one weight."""
    out_bytes: float
    """Bytes of one output."""
    tensor_cores: bool
    """Whether the product runs on tensor cores: they want `n` and `k` in multiples of eight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmPlans:
    """The cheapest candidate of each product and its parts, in microseconds; all `[products]`."""

    time_us: Array
    """Predicted time."""
    compute_us: Array
    """Main loops."""
    l2_us: Array
    """Loads of all CTAs from L2."""
    dram_us: Array
    """Bytes moved once."""
    bm: Array
    """Tile rows; 1 for the vector path."""
    bn: Array
    """Tile columns; 1 for the vector path."""
    resident: Array
    """CTAs that fit on one SM at once."""
    split: Array
    """Parts of the sum."""
    ctas: Array
    """Thread blocks launched."""
    runner_up_us: Array
    """Time of the second-best tile: how much the choice matters."""
    sets_bytes: Array
    """Bytes of the `SETS` of operands."""


def plan_gemms(
    m: Array,
    n: Array,
    k: Array,
    groups: Array,
    limits: GemmLimits,
    constants: GemmConstants,
    extra_bytes: Array | float = 0.0,
    menu: Menu = TILES,
) -> GemmPlans:
    """Chooses the cheapest tile and split of `groups` products `[m, k] · [k, n]`.

    Args:
        m: rows of one product `[products]`.
        n: columns of one product `[products]`.
        k: length of the sum `[products]`.
        groups: independent products in the launch `[products]`.
        limits: the device's rates for the scheme.
        constants: the fitted constants.
        extra_bytes: DRAM bytes of fused operands, or negative where the activation is smaller
            than `m · k` because a convolution reads it `taps` times `[products]`.
        menu: tiles as `(rows, columns, CTAs resident on one SM)`, at least two.

    Returns:
        The plans with the lowest time.
    """
    if limits.tensor_cores:
        n, k = np.ceil(n / 8) * 8, np.ceil(k / 8) * 8
    c, p, sms, per_us = constants, constants.overlap, limits.sms, limits.cycles_per_us
    written = groups * m * n * limits.out_bytes
    moved = groups * (m * k * limits.act_bytes + k * n * limits.weight_bytes) + written
    moved = np.maximum(moved + extra_bytes, written)
    sets = SETS * (moved - written) + written
    # Logistic in the logarithm of size: half of the bytes stay at `l2_share` of the cache.
    missed = 1.0 / (1.0 + (c.l2_share * limits.l2_bytes / sets) ** c.l2_slope)
    dram_full = moved * missed / (limits.dram_bytes_per_us * c.dram_efficiency)

    # [products, tiles, splits]
    bm, bn, resident = np.array(menu, dtype=float).T[:, None, :, None]
    rows, columns, length = (x[:, None, None] for x in (m, n, k))
    tiles = np.ceil(rows / bm) * np.ceil(columns / bn) * groups[:, None, None]
    slots = sms * resident
    split = _splits(tiles, length, slots)
    ctas = tiles * split
    part = np.ceil(length / split)
    per_sm = np.ceil(ctas / sms)
    together = np.minimum(per_sm, resident)
    sm_rate = limits.macs_per_us * c.compute_efficiency / sms
    work_us = K_STEP * (bm * bn + c.tile_half * (bm + bn)) / sm_rate
    step_us = np.maximum(together * work_us, c.step_cycles / per_us)
    steps = np.ceil(part / K_STEP)
    compute = np.ceil(per_sm / together) * (steps * step_us + c.tile_cycles / per_us)
    row_bytes = np.minimum(bm, rows) * limits.act_bytes
    row_bytes = row_bytes + np.minimum(bn, columns) * limits.weight_bytes
    # Partial sums are written in fp32 and read again; they stay in L2.
    partial = np.where(split > 1, 8.0 * split * (groups * m * n)[:, None, None], 0.0)
    l2 = (ctas * part * row_bytes + partial) / (limits.l2_bytes_per_us * c.l2_efficiency)
    dram = dram_full[:, None, None] * (1.0 + c.dram_half * sms / np.minimum(ctas, slots))
    time = (compute**p + l2**p + dram**p) ** (1.0 / p)
    time = time + np.where(split > 1, c.split_cycles / per_us, 0.0)

    by_tile = time.min(axis=2)
    tile = by_tile.argmin(axis=1)
    every = np.arange(len(m))
    place = (every, tile, time[every, tile].argmin(axis=1))
    fixed = (c.floor_cycles + c.ramp_cycles) / per_us
    chosen = GemmPlans(
        time_us=fixed + time[place],
        compute_us=compute[place],
        l2_us=l2[place],
        dram_us=dram[place],
        bm=bm[0, tile, 0],
        bn=bn[0, tile, 0],
        resident=resident[0, tile, 0],
        split=split[place],
        ctas=ctas[place],
        runner_up_us=fixed + np.partition(by_tile, 1, axis=1)[:, 1],
        sets_bytes=sets,
    )
    # One row: a matrix-vector kernel streams the weights and has no pipeline to fill.
    vector = (m == 1) & (groups == 1)
    return _with_vectors(chosen, vector, dram_full, n, k, limits, c) if vector.any() else chosen


def _splits(tiles: Array, length: Array, slots: Array) -> Array:
    """Splits of the sum worth a try `[products, tiles, 3]`: none, and what fills the device."""
    fill = np.minimum(np.floor(slots / tiles), np.floor(length / 128))
    fill = np.where(2 * tiles <= slots, np.maximum(fill, 1.0), 1.0)
    half = np.where(fill >= 4, np.floor(fill / 2), 1.0)
    return np.concatenate([np.ones_like(fill), half, fill], axis=2)


def _with_vectors(
    plans: GemmPlans,
    vector: NDArray[np.bool_],
    dram_us: Array,
    n: Array,
    k: Array,
    limits: GemmLimits,
    constants: GemmConstants,
) -> GemmPlans:
    """`plans` with matrix-vector products where `vector`: bytes, less while few rows in flight."""
    c, per_us = constants, limits.cycles_per_us
    ctas = np.ceil(n / 8)
    in_flight = np.minimum(ctas, limits.sms * 4) / limits.sms
    walk = c.vector_cycles / per_us * k / 1024.0
    dram = dram_us * (1.0 + c.dram_half / in_flight)
    time = c.floor_cycles / per_us + (dram**c.overlap + walk**c.overlap) ** (1.0 / c.overlap)
    return GemmPlans(
        time_us=np.where(vector, time, plans.time_us),
        compute_us=np.where(vector, walk, plans.compute_us),
        l2_us=np.where(vector, 0.0, plans.l2_us),
        dram_us=np.where(vector, dram, plans.dram_us),
        bm=np.where(vector, 1.0, plans.bm),
        bn=np.where(vector, 1.0, plans.bn),
        resident=np.where(vector, 1.0, plans.resident),
        split=np.where(vector, 1.0, plans.split),
        ctas=np.where(vector, ctas, plans.ctas),
        runner_up_us=np.where(vector, time, plans.runner_up_us),
        sets_bytes=plans.sets_bytes,
    )


def extra_us(plans: GemmPlans, share: Array, overlap: float) -> Array:
    """Time `[products]` that plans gain or lose when DRAM bytes grow by `share` of themselves.

    The tile stays: fused operands come and go in the epilogue of the tile that was chosen.
    """
    others = plans.compute_us**overlap + plans.l2_us**overlap
    before = (others + plans.dram_us**overlap) ** (1.0 / overlap)
    grown = plans.dram_us * np.maximum(1.0 + share, 0.0)
    return np.asarray((others + grown**overlap) ** (1.0 / overlap) - before)
