"""Block sizes of the depthwise convolution's kernels, and the constants they are compiled with.

The one table of the operation. A launch and a compilation ahead of time both read it here, so what
`kernels.aot` reports is what would run.
"""

from __future__ import annotations

from dataclasses import dataclass

Constants = dict[str, int | bool | str | None]
"""Compile-time arguments of a kernel by name."""

_DIRECT_KERNEL = 3  # The largest kernel whose channels-first images are not worth a copy.
FEW_PROGRAMS = 256
"""A launch of fewer programs than this leaves multiprocessors idle: it takes small blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What one program (a thread block) covers; every number is a power of two."""

    rows: int
    """Output rows; for the weight gradient 1."""
    columns: int
    """Output columns; for the weight gradient a run of output pixels, row after row."""
    channels: int
    """Channels."""
    warps: int
    """Warps of 32 threads."""
    unroll: int = 1
    """Most taps of a row (of a column, if rows have one) that are written out in a run; not used
    by the weight gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """The blocks of a gather (forward or input gradient) for a whole map."""

    blocks: Blocks
    """What one program covers."""
    programs: int
    """Programs for the batch."""
    channels_last: bool
    """Layout that the kernel reads and writes: channels-first images may have to be copied."""
    packed: bool
    """Whether the forward kernel wants the weight packed tap by tap: whole lines for large blocks;
    small ones are not worth the launch that it costs."""


def _gather(rows: int, columns: int, unroll: int) -> Blocks:
    return Blocks(rows=rows, columns=columns, channels=32, warps=4, unroll=unroll)


def _few(unroll: int) -> Blocks:
    return Blocks(rows=4, columns=4, channels=32, warps=4, unroll=unroll)


_FIRST_FEW = Blocks(rows=8, columns=16, channels=1, warps=1, unroll=4)


def _weight_grad(pixels: int) -> Blocks:
    return Blocks(rows=1, columns=pixels, channels=32, warps=4)


# (operation, earliest compute capability, kernel class, map class) -> Blocks; see `blocks_for`.
# Chosen from code compiled for sm_80 and sm_90, not by timing: no spills first, at most 128
# registers next, then the fewest instructions for each multiply-add.
_TABLE: dict[tuple[str, tuple[int, int], str, str], Blocks] = {
    ("gather", (0, 0), "1-3", "narrow"): _gather(8, 8, 1),
    ("gather", (0, 0), "1-3", "wide"): _gather(4, 16, 1),
    ("gather", (0, 0), "5-7", "narrow"): _gather(8, 8, 8),
    ("gather", (0, 0), "5-7", "wide"): _gather(4, 16, 8),
    ("gather", (0, 0), "9-31", "narrow"): _gather(8, 8, 2),
    ("gather", (0, 0), "9-31", "wide"): _gather(4, 16, 2),
    ("gather", (0, 0), "1-3", "few"): _few(4),
    ("gather", (0, 0), "5-7", "few"): _few(2),  # 4 spills in half precision
    ("gather", (0, 0), "9-31", "few"): _few(4),  # 8 spills at 13 taps
    # Unrolled further, a half-precision kernel takes 139 registers here (72 on sm_80).
    ("gather", (9, 0), "5-7", "narrow"): _gather(8, 8, 4),
    ("gather", (9, 0), "5-7", "wide"): _gather(4, 16, 4),
    # 7 to 8 instructions for each multiply-add, twice as many as channels-last: a copy is cheaper
    # from 5 taps on.
    ("gather first", (0, 0), "1-3", "narrow"): Blocks(rows=32, columns=16, channels=4, warps=4),
    ("gather first", (0, 0), "1-3", "wide"): Blocks(rows=16, columns=32, channels=4, warps=4),
    ("gather first", (0, 0), "1-3", "few"): _FIRST_FEW,
    ("gather first", (0, 0), "5-7", "few"): _FIRST_FEW,
    ("gather first", (0, 0), "9-31", "few"): _FIRST_FEW,
    ("weight_grad", (0, 0), "1-3", "narrow"): _weight_grad(16),
    ("weight_grad", (0, 0), "1-3", "wide"): _weight_grad(16),
    ("weight_grad", (0, 0), "5-7", "narrow"): _weight_grad(16),
    ("weight_grad", (0, 0), "5-7", "wide"): _weight_grad(16),
    ("weight_grad", (0, 0), "9-31", "narrow"): _weight_grad(4),
    ("weight_grad", (0, 0), "9-31", "wide"): _weight_grad(4),
}


def blocks_for(
    operation: str, capability: tuple[int, int], kernel: int, width: int, *, few: bool = False
) -> Blocks:
    """Look up the block sizes of an operation.

    Args:
        operation: `gather` (forward and input gradient), `gather first` (the same on channels-first
            images) or `weight_grad`.
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for any, the interpreter included.
        kernel: Larger side of the kernel in pixels: its class is "1-3", "5-7" or "9-31".
        width: Columns of the map that is written: "narrow" up to 14, "wide" above.
        few: Whether to take the small blocks of a gather that starts few programs.
    """
    size = "1-3" if kernel <= 3 else "5-7" if kernel <= 7 else "9-31"
    shape = (size, "few" if few else "narrow" if width <= 14 else "wide")
    known = [key[1] for key in _TABLE if key[0] == operation and key[2:] == shape]
    return _TABLE[(operation, max(c for c in known if c <= capability), *shape)]


def tiling_for(
    capability: tuple[int, int],
    taps: tuple[int, int],
    shape: tuple[int, int, int, int],
    *,
    channels_last: bool,
    few: int = FEW_PROGRAMS,
) -> Tiling:
    """Choose the blocks of a gather.

    Args:
        capability: As of `blocks_for`.
        taps: Rows and columns of the kernel.
        shape: Of the map that is written, `[B, C, H, W]`.
        channels_last: Layout of the input.
        few: Programs below which small blocks are taken.
    """
    kernel, width = max(taps), shape[3]
    blocks = blocks_for("gather", capability, kernel, width)
    large = programs(blocks, shape) >= few
    channels_last = channels_last or (large and kernel > _DIRECT_KERNEL)
    operation = "gather" if channels_last else "gather first"
    blocks = blocks_for(operation, capability, kernel, width, few=not large)
    return Tiling(
        blocks=blocks,
        programs=programs(blocks, shape),
        channels_last=channels_last,
        packed=large,
    )


def programs(blocks: Blocks, shape: tuple[int, int, int, int]) -> int:
    """Count the tiles of a map `[B, C, H, W]`."""
    batch, channels, height, width = shape
    tiles = -(-height // blocks.rows) * -(-width // blocks.columns)
    return batch * tiles * -(-channels // blocks.channels)


def gather_constants(
    taps: tuple[int, int], stride: int, dilation: int, tiling: Tiling
) -> Constants:
    """Return what the forward and the input-gradient kernel share."""
    return {
        "KERNEL_ROWS": taps[0],
        "KERNEL_COLUMNS": taps[1],
        "STRIDE": stride,
        "DILATION": dilation,
        "CHANNELS_LAST": tiling.channels_last,
        "ROWS": tiling.blocks.rows,
        "COLUMNS": tiling.blocks.columns,
        "CHANNELS": tiling.blocks.channels,
        "UNROLL": min(tiling.blocks.unroll, max(taps)),
    }


def weight_grad_constants(
    capability: tuple[int, int],
    taps: tuple[int, int],
    stride: int,
    dilation: int,
    width_out: int,
) -> tuple[Blocks, Constants]:
    """Return the blocks of the weight-gradient kernel and what it is compiled with."""
    blocks = blocks_for("weight_grad", capability, max(taps), width_out)
    return blocks, {
        "KERNEL_ROWS": taps[0],
        "KERNEL_COLUMNS": taps[1],
        "TAPS": 1 << (taps[1] - 1).bit_length(),
        "STRIDE": stride,
        "DILATION": dilation,
        "PIXELS": blocks.columns,
        "CHANNELS": blocks.channels,
    }
