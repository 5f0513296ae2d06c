"""Block sizes of the matrix product, and how often its inner dimension is split.

A launch and a compilation ahead of time both read them here, so what `kernels.aot` reports is what
would run.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

PROGRAMS = 128
"""Blocks that a launch should have at least: about one a multiprocessor of an A100 or H100. A
constant, so that sums are split, and rounded, alike on every device."""

Constants = dict[str, int | bool | str | None]
"""Compile-time arguments of a kernel by name; a pointer that is None is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmBlocks:
    """What one program (a thread block) covers; every number is a power of two."""

    rows: int
    """Rows of the output."""
    columns: int
    """Columns of the output."""
    inner: int
    """Elements of the inner dimension in one step of the loop."""
    warps: int = 4
    """Warps of 32 threads."""
    stages: int = 3
    """Steps in flight."""
    group: int = 8
    """Tiles that are visited down the rows before the next column of tiles."""


def _blocks(rows: int, columns: int, inner: int, warps: int, stages: int) -> GemmBlocks:
    return GemmBlocks(rows=rows, columns=columns, inner=inner, warps=warps, stages=stages)


# (earliest compute capability, bytes an element, shape class) -> blocks; see `blocks_for`.
# Chosen from code compiled for sm_80 and sm_90, not by timing: no spills behind any activation,
# tensor-core instructions in the loop (but for float32), and at least one block of 8 warps or two
# of 4 on a multiprocessor. With 4 warps 128 x 128 spills: 16,384 sums take half the registers.
_TABLE: dict[tuple[tuple[int, int], int, str], GemmBlocks] = {
    **{
        ((0, 0), size, shape): _blocks(16, 16, 32, 4, 3)  # The interpreter, on small tests.
        for size in (1, 2, 4)
        for shape in ("16 rows", "32 rows", "small", "large")
    },
    ((8, 0), 4, "16 rows"): _blocks(16, 64, 32, 4, 3),
    ((8, 0), 4, "32 rows"): _blocks(32, 64, 32, 4, 3),
    ((8, 0), 4, "small"): _blocks(64, 64, 16, 4, 3),
    ((8, 0), 4, "large"): _blocks(64, 128, 16, 8, 3),
    # With 64 x 64 ptxas gives sm_90 96 registers and spills a few.
    ((9, 0), 4, "small"): _blocks(32, 64, 32, 4, 3),
    # Below 64 rows sm_90 has no tensor-core instruction for float8, and widening it spills.
    ((9, 0), 1, "32 rows"): _blocks(64, 64, 128, 4, 4),
    ((8, 0), 2, "16 rows"): _blocks(16, 64, 64, 4, 4),
    ((8, 0), 2, "32 rows"): _blocks(32, 64, 64, 4, 4),
    ((8, 0), 2, "small"): _blocks(64, 64, 64, 4, 4),
    ((8, 0), 2, "large"): _blocks(128, 128, 64, 8, 3),
    ((8, 0), 1, "16 rows"): _blocks(16, 64, 128, 4, 4),
    ((8, 0), 1, "32 rows"): _blocks(32, 64, 128, 4, 4),
    ((8, 0), 1, "small"): _blocks(64, 64, 128, 4, 4),
    ((8, 0), 1, "large"): _blocks(128, 128, 128, 8, 3),
}


def blocks_for(capability: tuple[int, int], bytes_each: int, rows: int, columns: int) -> GemmBlocks:
    """Look up the block sizes of a product.

    Args:
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for the interpreter.
        bytes_each: Bytes of an element of the operands: 1, 2 or 4.
        rows: Rows of the output.
        columns: Columns of the output. The class is "16 rows" for no more rows than that, "large"
            if tiles of 128 x 128 fill the device and are not half empty, "32 rows" if tiles of
            64 x 64 would leave half of it idle, else "small". A block has no more columns than it
            takes, but at least 16.
    """

    def tiles(size: int) -> int:
        return -(-rows // size) * -(-columns // size)

    if rows <= 16:
        shape = "16 rows"
    elif columns > 64 and tiles(128) >= PROGRAMS * 3 // 4:
        shape = "large"
    else:
        shape = "32 rows" if rows <= 32 or tiles(64) <= PROGRAMS // 2 else "small"
    known = [key[0] for key in _TABLE if key[1:] == (bytes_each, shape)]
    blocks = _TABLE[(max(c for c in known if c <= capability), bytes_each, shape)]
    needed = max(16, 1 << (columns - 1).bit_length())
    return dataclasses.replace(blocks, columns=min(blocks.columns, needed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a product is cut into programs."""

    blocks: GemmBlocks
    """What one program covers."""
    tiles: int
    """Tiles of the output."""
    splits: int
    """Programs that share the inner dimension of a tile."""
    split_steps: int
    """Steps of the inner loop of one split; the last split may have fewer."""

    @property
    def split_inner(self) -> int:
        """Inner elements of one split, a multiple of the blocks'."""
        return self.split_steps * self.blocks.inner

    @property
    def programs(self) -> int:
        """Programs of the launch."""
        return self.tiles * self.splits


def plan_for(
    capability: tuple[int, int], bytes_each: int, rows: int, columns: int, inner: int
) -> Plan:
    """Cut a product into programs: the arguments are those of `blocks_for`, and the inner size.

    The inner dimension is split where the tiles would not fill the device.
    """
    blocks = fit_inner(blocks_for(capability, bytes_each, rows, columns), bytes_each, inner)
    tiles = -(-rows // blocks.rows) * -(-columns // blocks.columns)
    steps = -(-inner // blocks.inner)
    each = split_steps(tiles, steps)
    return Plan(blocks=blocks, tiles=tiles, splits=-(-steps // each), split_steps=each)


def fit_inner(blocks: GemmBlocks, bytes_each: int, run: int) -> GemmBlocks:
    """Return blocks whose steps waste little of a run of inner elements; see `fit_step`."""
    return dataclasses.replace(blocks, inner=fit_step(blocks.inner, bytes_each, run))


def fit_step(size: int, bytes_each: int, run: int) -> int:
    """Return a step, a power of two, that wastes little of a run of inner elements.

    That is the largest that is no larger than `size` and whose padding makes the run no more than a
    quarter longer than that of the least step does (16 elements; 32 of a byte).
    """
    least = 32 if bytes_each == 1 else 16
    while size > least and -(-run // size) * size * 4 > -(-run // least) * least * 5:
        size //= 2
    return size


def split_steps(tiles: int, steps: int, least: int = 4) -> int:
    """Say how many steps of the inner loop one program takes.

    Args:
        tiles: Tiles of the output.
        steps: Steps of the whole inner dimension.
        least: What a split must have; with fewer steps than the pipeline has stages it only waits.

    Returns:
        All steps if the tiles fill the device; fewer, but at least `least`, if they do not.
    """
    splits = min(max(1, PROGRAMS // tiles), max(1, steps // least))
    return -(-steps // splits)


def gemm_constants(
    blocks: GemmBlocks,
    sizes: tuple[int, int, int],
    strides: tuple[int, int],
    *,
    a_inner_last: bool,
    b_inner_last: bool,
) -> Constants:
    """Return what the kernel takes beyond the constants of its epilogue and of its dtype.

    Args:
        blocks: What one program covers.
        sizes: Rows, columns and inner elements.
        strides: Elements from one line of memory of an operand to the next.
        a_inner_last: As in `multiply`.
        b_inner_last: As in `multiply`.
    """
    rows, columns, inner = sizes
    aligned = [columns, *strides]
    aligned += [inner] if a_inner_last or b_inner_last else []
    aligned += [] if a_inner_last else [rows]
    return {
        "A_INNER_LAST": a_inner_last,
        "B_INNER_LAST": b_inner_last,
        "EVEN": inner % blocks.inner == 0,
        "EIGHTS": are_eights(*aligned),
        "ROWS": blocks.rows,
        "COLUMNS": blocks.columns,
        "INNER": blocks.inner,
        "GROUP": blocks.group,
    }


def are_eights(*sizes: int) -> bool:
    """Whether all sizes are multiples of 8, so that neighbours are loaded as vectors."""
    return all(size % 8 == 0 for size in sizes)
