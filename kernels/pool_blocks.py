"""Block sizes of the pooling kernels, and the constants that they are compiled with."""

from __future__ import annotations

from dataclasses import dataclass

Constants = dict[str, int | bool | str | None]
"""Compile-time arguments of a kernel by name."""

PROGRAMS = 256
"""Programs that a global pool is split into at least, if its maps are large enough: a GPU's worth.
A constant, so that sums are the same on every GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What one program covers; every number is a power of two."""

    pixels: int
    """Pixels, row after row; of a global pool at a time."""
    channels: int
    """Channels."""
    warps: int
    """Warps of 32 threads."""


# (operation, earliest compute capability, layout, most values of the inner dimension) -> Blocks.
# The inner dimension, channels or pixels, is read in whole lines. Chosen from code compiled for
# sm_80 and sm_90, not by timing: no spills, at most 128 registers.
_TABLE: dict[tuple[str, tuple[int, int], str, int], Blocks] = {
    ("window", (0, 0), "last", 32): Blocks(pixels=32, channels=32, warps=4),
    ("window", (0, 0), "last", 2**31): Blocks(pixels=16, channels=64, warps=4),
    ("window", (0, 0), "first", 64): Blocks(pixels=64, channels=8, warps=4),
    ("window", (0, 0), "first", 2**31): Blocks(pixels=128, channels=4, warps=4),
    ("global", (0, 0), "last", 32): Blocks(pixels=64, channels=32, warps=4),
    ("global", (0, 0), "last", 2**31): Blocks(pixels=32, channels=64, warps=4),
    ("global", (0, 0), "first", 64): Blocks(pixels=64, channels=32, warps=4),
    ("global", (0, 0), "first", 2**31): Blocks(pixels=256, channels=8, warps=4),
}


def blocks_for(
    operation: str, capability: tuple[int, int], channels_last: bool, channels: int, pixels: int
) -> Blocks:
    """Look up the block sizes of an operation.

    Args:
        operation: `window` or `global`.
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for any, the interpreter included.
        channels_last: Whether memory is channels-last.
        channels: Channels of the map.
        pixels: Pixels of the map that is written, or that a global pool reads.
    """
    layout, inner = ("last", channels) if channels_last else ("first", pixels)
    mine = [
        key for key in _TABLE if (key[0], key[2]) == (operation, layout) and key[1] <= capability
    ]
    latest = max(key[1] for key in mine)
    return _TABLE[min(key for key in mine if key[1] == latest and inner <= key[3])]


def window_constants(
    *,
    maximum: bool,
    kernel: int,
    stride: int,
    padding: int,
    count_include_pad: bool,
    channels_last: bool,
    blocks: Blocks,
) -> Constants:
    """Return what the forward and the backward kernel of a window pool share."""
    return {
        "MAXIMUM": maximum,
        "KERNEL": kernel,
        "STRIDE": stride,
        "PADDING": padding,
        "COUNT_PADDING": count_include_pad,
        "CHANNELS_LAST": channels_last,
        "UNROLL": min(kernel, 4),
        "PIXELS": blocks.pixels,
        "CHANNELS": blocks.channels,
    }


def global_constants(
    *, raised: bool, finish: str, save_log: bool, channels_last: bool, blocks: Blocks
) -> Constants:
    """Return what the global pool's kernel takes."""
    return {
        "RAISED": raised,
        "FINISH": finish,
        "SAVE_LOG": save_log,
        "CHANNELS_LAST": channels_last,
        "PIXELS": blocks.pixels,
        "CHANNELS": blocks.channels,
    }


def splits_for(batch: int, channels: int, pixels: int, blocks: Blocks) -> tuple[int, int]:
    """Return how many parts a global pool's pixels are summed in, and the pixels of a part."""
    wanted = -(-PROGRAMS // (batch * -(-channels // blocks.channels)))
    runs = -(-pixels // blocks.pixels)
    runs_per_split = -(-runs // min(runs, wanted))
    return -(-runs // runs_per_split), runs_per_split * blocks.pixels
