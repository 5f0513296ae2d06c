"""How an inverted-residual block is cut into programs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from kernels.gemm_blocks import Constants, are_eights, fit_step, split_steps

MOST_PROGRAMS = 1024
"""Programs of a launch: more tiles than that are gone through in turns, so that the scratch buffers
of all programs stay a few MiB."""

MOST_COLUMNS = 256
"""Output channels whose sums a program can keep in registers."""

MOST_LOOSE_COLUMNS = 64
"""The same where any number of channels is no multiple of 8: loads are then no vectors, and their
addresses take registers."""

MOST_HALO = 256
"""Pixels that a tile may see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualBlocks:
    """What one program (a thread block) covers; every number is a power of two."""

    tile_rows: int
    """Output rows."""
    tile_columns: int
    """Output columns."""
    channels: int
    """Input channels in one step of the expanding product."""
    expanded: int
    """Expanded channels of a chunk."""
    warps: int = 8
    """Warps of 32 threads."""
    stages: int = 3
    """Steps of the expanding product in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualPlan:
    """How a block is cut into programs."""

    blocks: ResidualBlocks
    """What one program covers."""
    halo: int
    """Pixels that a tile sees, rounded up to a power of two."""
    tiles: int
    """Tiles of the whole batch."""
    splits: int
    """Programs that share the expanded channels of a tile."""
    split_expanded: int
    """Expanded channels of one split, a multiple of a chunk."""

    @property
    def programs(self) -> int:
        """Programs of the launch."""
        return min(self.tiles * self.splits, MOST_PROGRAMS)


def _blocks(rows: int, columns: int, channels: int, expanded: int, stages: int) -> ResidualBlocks:
    return ResidualBlocks(
        tile_rows=rows, tile_columns=columns, channels=channels, expanded=expanded, stages=stages
    )


# (earliest compute capability, bytes an element at least, stride, kernel up to) -> blocks.
# Chosen from code compiled for sm_80 and sm_90, not by timing: no spills behind any activation and
# up to 256 output channels, then the largest tile, as its edges are computed twice.
_TABLE: dict[tuple[tuple[int, int], int, int, int], ResidualBlocks] = {
    **{
        ((0, 0), size, stride, 7): _blocks(4, 4, 16, 16, 3)  # The interpreter.
        for size in (2, 4)
        for stride in (1, 2)
    },
    ((8, 0), 2, 1, 3): _blocks(8, 8, 64, 64, 3),
    ((8, 0), 2, 1, 7): _blocks(8, 8, 64, 32, 3),
    ((8, 0), 2, 2, 5): _blocks(4, 8, 64, 32, 3),
    ((8, 0), 2, 2, 7): _blocks(4, 4, 64, 32, 3),
    # In float32 the tile with the fewest spills is not always the smallest: with fewer sums ptxas
    # tries for 128 registers and misses.
    ((8, 0), 4, 1, 3): _blocks(4, 8, 16, 16, 2),
    ((8, 0), 4, 1, 5): _blocks(8, 8, 16, 16, 2),
    ((8, 0), 4, 1, 7): _blocks(4, 8, 16, 16, 2),
    ((8, 0), 4, 2, 5): _blocks(4, 8, 16, 16, 2),
    ((9, 0), 4, 1, 5): _blocks(4, 8, 16, 16, 2),
    ((9, 0), 4, 2, 5): _blocks(4, 4, 16, 16, 2),
    ((8, 0), 4, 2, 7): _blocks(4, 4, 16, 16, 2),
}


def block_plan(
    capability: tuple[int, int],
    bytes_each: int,
    shape: tuple[int, int, int],
    channels: tuple[int, int],
    kernel: int,
    stride: int,
) -> ResidualPlan:
    """Cut an inverted-residual block into programs.

    Args:
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for the interpreter.
        bytes_each: Bytes of an element: 2 or 4.
        shape: Images, output rows and output columns.
        channels: Input and expanded channels.
        kernel: Depthwise kernel size in pixels: odd, up to 7.
        stride: 1 or 2.
    """
    known = [
        (key[0], -key[3])
        for key in _TABLE
        if key[0] <= capability and key[1:3] == (bytes_each, stride) and kernel <= key[3]
    ]
    since, most = max(known)
    blocks = _TABLE[(since, bytes_each, stride, -most)]
    seen_rows = (blocks.tile_rows - 1) * stride + kernel
    seen_columns = (blocks.tile_columns - 1) * stride + kernel
    batch, height, width = shape
    tiles = batch * -(-height // blocks.tile_rows) * -(-width // blocks.tile_columns)
    # Where loads are no vectors, their addresses take the registers that a longer step needs.
    step = fit_step(blocks.channels, bytes_each, channels[0]) if are_eights(*channels) else 16
    blocks = dataclasses.replace(blocks, channels=min(blocks.channels, step))
    chunks = -(-channels[1] // blocks.expanded)
    each = split_steps(tiles, chunks, least=1)
    return ResidualPlan(
        blocks=blocks,
        halo=1 << (seen_rows * seen_columns - 1).bit_length(),
        tiles=tiles,
        splits=-(-chunks // each),
        split_expanded=each * blocks.expanded,
    )


def block_constants(
    plan: ResidualPlan, channels: tuple[int, int, int], kernel: int, stride: int, activation: str
) -> Constants:
    """Return what the kernel takes beyond the constants of its epilogue and of its dtype.

    `channels` are input, expanded and output channels.
    """
    return {
        "INNER_ACTIVATION": activation,
        "KERNEL": kernel,
        "STRIDE": stride,
        "TILE_ROWS": plan.blocks.tile_rows,
        "TILE_COLUMNS": plan.blocks.tile_columns,
        "HALO": plan.halo,
        "CHANNELS": plan.blocks.channels,
        "EXPANDED": plan.blocks.expanded,
        "EIGHTS": are_eights(*channels),
        "COLUMNS": max(16, 1 << (channels[2] - 1).bit_length()),
    }
