"""Time of one matrix product: the best of a menu of tiles and splits, by tiles and waves.

Legend: `m`, `n`, `k` product; `bm`, `bn` tile; CTA = one thread block = one output tile (or one
part of its sum, when `k` is split). Times are microseconds.

For one candidate (tile, split s):

    ctas    = ceil(m/bm) · ceil(n/bn) · groups · s
    waves   = CTAs that the busiest SM runs one after another, `resident` at a time
    compute = waves · steps · max(tile work / SM rate, latency of one step)
    l2      = bytes that all CTAs load / L2 bandwidth
    dram    = bytes moved once / (DRAM bandwidth, less while few CTAs are in flight)
    time    = floor + ramp + (compute^p + l2^p + dram^p)^(1/p) + split reduction

and the library is taken to run the cheapest candidate. The p-norm stands for imperfect overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

K_STEP = 32
"""Length of the sum between two barriers of a tensor-core main loop, in elements of 16 bits."""

TILES: tuple[tuple[int, int, int], ...] = (
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


SIMT_TILES: tuple[tuple[int, int, int], ...] = (
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

    floor_us: float
    """Time of a launch that does nothing, in a CUDA graph."""
    ramp_us: float
    """Filling the first pipeline stages and draining the last tile; tiled products only."""
    compute_efficiency: float
    """Rate of an endless main loop on an endless tile, as a share of the published peak. It may
    pass one: no tile of the menu is endless, and `tile_half` takes its part from all of them."""
    tile_half: float
    """Tile intensity bm·bn/(bm+bn), in elements, at which half of that rate is reached."""
    step_us: float
    """Shortest time of one step of the main loop, whatever the tile."""
    tile_us: float
    """Time between two tiles on one SM: epilogue and start of the next."""
    l2_efficiency: float
    """Share of the nominal L2 bandwidth reached."""
    dram_efficiency: float
    """Share of the published DRAM bandwidth reached with all SMs loading."""
    dram_half: float
    """CTAs in flight per SM at which half of the reachable bandwidth is reached."""
    split_us: float
    """Extra time of a split sum: the second pass or the semaphore."""
    vector_k_us: float
    """Time per 1,024 elements of one row's walk along `k` in a matrix-vector kernel."""
    overlap: float
    """Exponent p of the norm; infinity would be perfect overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmLimits:
    """What the device allows to one scheme, in units per microsecond."""

    sms: int
    """Streaming multiprocessors."""
    macs_per_us: float
    """Multiply-adds per microsecond of the whole device, at the published peak."""
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
class GemmPlan:
    """The cheapest candidate and its parts, in microseconds."""

    time_us: float
    """Predicted time."""
    compute_us: float
    """Main loops."""
    l2_us: float
    """Loads of all CTAs from L2."""
    dram_us: float
    """Bytes moved once."""
    bm: int
    """Tile rows; 1 for the vector path."""
    bn: int
    """Tile columns; 1 for the vector path."""
    split: int
    """Parts of the sum."""
    ctas: int
    """Thread blocks launched."""
    runner_up_us: float
    """Time of the second-best tile: how much the choice matters."""


def plan_gemm(
    m: int,
    n: int,
    k: int,
    groups: int,
    limits: GemmLimits,
    constants: GemmConstants,
    extra_bytes: float = 0.0,
    menu: tuple[tuple[int, int, int], ...] = TILES,
) -> GemmPlan:
    """Chooses the cheapest tile and split of `groups` products `[m, k] · [k, n]`.

    Args:
        m: rows of one product.
        n: columns of one product.
        k: length of the sum.
        groups: independent products in the launch.
        limits: the device's rates for the scheme.
        constants: the fitted constants.
        extra_bytes: DRAM bytes of fused operands, or negative where the activation is smaller
            than `m · k` because a convolution reads it `taps` times.
        menu: tiles as `(rows, columns, CTAs resident on one SM)`, at least two.

    Returns:
        The plan with the lowest time.
    """
    if limits.tensor_cores:
        n, k = -(-n // 8) * 8, -(-k // 8) * 8
    c = constants
    p = c.overlap
    sms = limits.sms
    dram_bytes = groups * (
        m * k * limits.act_bytes + k * n * limits.weight_bytes + m * n * limits.out_bytes
    )
    dram_bytes = max(dram_bytes + extra_bytes, groups * m * n * limits.out_bytes)
    dram_full = dram_bytes / (limits.dram_bytes_per_us * c.dram_efficiency)
    sm_rate = limits.macs_per_us * c.compute_efficiency / sms
    l2_rate = limits.l2_bytes_per_us * c.l2_efficiency
    if m == 1 and groups == 1:
        # One row: a matrix-vector kernel streams the weights and has no pipeline to fill.
        return _vector_plan(dram_full, n, k, limits, c)
    # Local names: this loop runs once for every new kernel of a search.
    act, weight, partial = limits.act_bytes, limits.weight_bytes, 8.0 * groups * m * n
    step_us, tile_us, split_us, tile_half = c.step_us, c.tile_us, c.split_us, c.tile_half
    root, thin = 1.0 / p, c.dram_half * sms
    best, second = math.inf, math.inf
    chosen = (0.0, 0.0, 0.0, 0, 0, 1, 1)
    for bm, bn, resident in menu:
        tiles = -(-m // bm) * -(-n // bn) * groups
        slots = sms * resident
        work = bm * bn
        step_work = K_STEP * (work + tile_half * (bm + bn)) / sm_rate
        row_bytes = (bm if bm < m else m) * act + (bn if bn < n else n) * weight
        tile_best = math.inf
        for split in _splits(tiles, k, slots) if tiles + tiles <= slots else (1,):
            ctas = tiles * split
            part = -(-k // split)
            per_sm = -(-ctas // sms)
            together = per_sm if per_sm < resident else resident
            step = together * step_work
            if step < step_us:
                step = step_us
            compute = -(-per_sm // together) * (-(-part // K_STEP) * step + tile_us)
            limit = tile_best if tile_best < second else second
            if compute >= limit:
                continue  # the norm is never below its largest term
            loads = ctas * part * row_bytes
            extra = 0.0
            if split > 1:
                # Partial sums are written in fp32 and read again; they stay in L2.
                loads += partial * split
                extra = split_us
            l2 = loads / l2_rate
            dram = dram_full * (1.0 + thin / (ctas if ctas < slots else slots))
            if l2 + extra >= limit or dram + extra >= limit:
                continue
            time = (compute**p + l2**p + dram**p) ** root + extra
            if time < tile_best:
                tile_best = time
                if time < best:
                    candidate = (compute, l2, dram, bm, bn, split, ctas)
        if tile_best < best:
            best, second, chosen = tile_best, best, candidate
        elif tile_best < second:
            second = tile_best
    compute, l2, dram, bm, bn, split, ctas = chosen
    fixed = c.floor_us + c.ramp_us
    return GemmPlan(
        time_us=fixed + best,
        compute_us=compute,
        l2_us=l2,
        dram_us=dram,
        bm=bm,
        bn=bn,
        split=split,
        ctas=ctas,
        runner_up_us=fixed + second,
    )


def extra_us(plan: GemmPlan, share: float, overlap: float) -> float:
    """Time that the plan gains or loses when its DRAM bytes grow by `share` of themselves.

    The tile stays: fused operands come and go in the epilogue of the tile that was chosen.
    """
    others = plan.compute_us**overlap + plan.l2_us**overlap
    before = (others + plan.dram_us**overlap) ** (1.0 / overlap)
    after = (others + (plan.dram_us * max(1.0 + share, 0.0)) ** overlap) ** (1.0 / overlap)
    return float(after - before)


def _vector_plan(
    dram_us: float, n: int, k: int, limits: GemmLimits, constants: GemmConstants
) -> GemmPlan:
    """The plan of a matrix-vector product: bytes, less while few rows are in flight."""
    ctas = -(-n // 8)
    in_flight = min(ctas, limits.sms * 4) / limits.sms
    walk = constants.vector_k_us * k / 1024.0
    dram = dram_us * (1.0 + constants.dram_half / in_flight)
    time = constants.floor_us + (dram**constants.overlap + walk**constants.overlap) ** (
        1.0 / constants.overlap
    )
    return GemmPlan(
        time_us=time,
        compute_us=walk,
        l2_us=0.0,
        dram_us=dram,
        bm=1,
        bn=1,
        split=1,
        ctas=ctas,
        runner_up_us=time,
    )


def _splits(tiles: int, k: int, slots: int) -> tuple[int, ...]:
    """Splits of the sum worth a try: none, and the one that fills the device once."""
    fill = min(slots // tiles, k // 128)
    if fill < 2:
        return (1,)
    if fill < 4:
        return (1, fill)
    return (1, fill // 2, fill)


_FILL_TILES = ((256, 128), (128, 256), (128, 128), (128, 64), (64, 64))

FEATURES: tuple[str, ...] = (
    *("log_m", "log_n", "log_k", "log_time", "log_compute", "log_l2", "log_dram"),
    *("tile_rows", "tile_columns", "split", "log_ctas", "wave_fill", "runner_up"),
    *(f"fill_{bm}x{bn}" for bm, bn in _FILL_TILES),
    *("row_fill", "log_outputs", "log_weights", "log_inputs"),
)
"""Names of `gemm_features`, in order. Logarithms are to base 2."""


def gemm_features(m: int, n: int, k: int, plan: GemmPlan, sms: int) -> tuple[float, ...]:
    """What a learned correction of `plan` sees: sizes, the plan's parts, and fills of tiles."""
    log_m, log_n, log_k = math.log2(m), math.log2(n), math.log2(k)
    waves = plan.ctas / sms
    fills = []
    for bm, bn in _FILL_TILES:
        tiles = -(-m // bm) * -(-n // bn)
        fills.append(m * n / (bm * bn * sms * -(-tiles // sms)))
    return (
        log_m,
        log_n,
        log_k,
        math.log2(plan.time_us),
        # A tenth of a microsecond keeps the logarithm of a part that is absent finite.
        math.log2(plan.compute_us + 0.1),
        math.log2(plan.l2_us + 0.1),
        math.log2(plan.dram_us + 0.1),
        float(plan.bm),
        float(plan.bn),
        float(plan.split),
        math.log2(plan.ctas),
        waves / math.ceil(waves),
        plan.runner_up_us / plan.time_us,
        *fills,
        m / (128.0 * -(-m // 128)),
        log_m + log_n,
        log_n + log_k,
        log_m + log_k,
    )
