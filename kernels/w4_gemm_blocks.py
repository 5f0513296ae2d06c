"""How a product with 4-bit weights is cut into programs."""

from __future__ import annotations

import dataclasses

from kernels.gemm_blocks import Constants, GemmBlocks, Plan, are_eights, split_steps

STEP = 128
"""Inner elements of one step: what one run of 16 words of packed weights holds."""


def _blocks(rows: int, columns: int, warps: int, stages: int) -> GemmBlocks:
    return GemmBlocks(rows=rows, columns=columns, inner=STEP, warps=warps, stages=stages)


# (earliest compute capability, rows up to) -> blocks; see `w4_plan`.
# Chosen from code compiled for sm_80 and sm_90, not by timing: no spills, at least two blocks on a
# multiprocessor with few rows, and few instructions for each weight, as those bound the product
# before the memory does.
_TABLE: dict[tuple[tuple[int, int], int], GemmBlocks] = {
    **{((0, 0), rows): _blocks(16, 16, 4, 3) for rows in (16, 64, 2**31)},  # The interpreter.
    ((8, 0), 16): _blocks(16, 128, 4, 4),
    ((8, 0), 64): _blocks(32, 128, 4, 4),
    ((8, 0), 2**31): _blocks(128, 128, 8, 3),
    # Twice that spills with groups of 32 under Triton 3.6.
    ((9, 0), 2**31): _blocks(64, 128, 8, 4),
}


def w4_plan(capability: tuple[int, int], rows: int, columns: int, inner: int) -> Plan:
    """Cut a product into programs.

    Args:
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for the interpreter.
        rows: Rows of the output.
        columns: Columns of the output.
        inner: Inner elements.
    """
    most = min(most for _, most in _TABLE if rows <= most)
    since = max(c for c, m in _TABLE if c <= capability and m == most)
    blocks = _TABLE[(since, most)]
    needed = max(16, 1 << (columns - 1).bit_length())
    blocks = dataclasses.replace(blocks, columns=min(blocks.columns, needed))
    tiles = -(-rows // blocks.rows) * -(-columns // blocks.columns)
    steps = -(-inner // STEP)
    each = split_steps(tiles, steps, least=2)
    return Plan(blocks=blocks, tiles=tiles, splits=-(-steps // each), split_steps=each)


def w4_constants(
    blocks: GemmBlocks, columns: int, inner: int, groups: int, x_stride: int
) -> Constants:
    """Return what the kernel takes beyond the constants of its epilogue and of its dtype."""
    return {
        "GROUP": 0 if groups == 1 else inner // groups,
        "EVEN": inner % STEP == 0,
        "EIGHTS": are_eights(inner, columns, x_stride),
        "ROWS": blocks.rows,
        "COLUMNS": blocks.columns,
    }
