"""Block sizes of the channel gates' kernels, and the constants that they are compiled with."""

from __future__ import annotations

from dataclasses import dataclass

Constants = dict[str, int | bool | str | None]
"""Compile-time arguments of a kernel by name."""

MOST_HIDDEN = 256
"""Largest hidden size of squeeze-excite that the kernels serve."""

MOST_TAPS = 31
"""Longest kernel of ECA that the kernels serve."""

ONE_LAUNCH_VALUES = 32768
"""Most values of an image for which one program pools, gates and scales it: its second read comes
from the cache, and a map this small is done before three launches have begun. Not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What one program covers at a time; every number is a power of two."""

    pixels: int
    """Pixels."""
    channels: int
    """Channels."""
    warps: int
    """Warps of 32 threads."""


# (operation, earliest compute capability, layout, most hidden values) -> Blocks. `excite` holds a
# block of an image and one of a matrix, `scale` a tile of an image. Chosen from code compiled for
# sm_80 and sm_90, not by timing: no spills, at most 128 registers.
_TABLE: dict[tuple[str, tuple[int, int], str, int], Blocks] = {
    ("excite", (0, 0), "last", 64): Blocks(pixels=64, channels=128, warps=16),
    ("excite", (0, 0), "last", 256): Blocks(pixels=128, channels=32, warps=16),
    ("excite", (0, 0), "first", 64): Blocks(pixels=64, channels=128, warps=16),
    ("excite", (0, 0), "first", 256): Blocks(pixels=128, channels=32, warps=16),
    ("scale", (0, 0), "last", 256): Blocks(pixels=32, channels=64, warps=4),
    ("scale", (0, 0), "first", 256): Blocks(pixels=256, channels=8, warps=4),
}


def blocks_for(
    operation: str, capability: tuple[int, int], channels_last: bool, hidden: int = 1
) -> Blocks:
    """Look up the block sizes of an operation.

    Args:
        operation: `excite` or `scale`.
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for any, the interpreter included.
        channels_last: Whether memory is channels-last.
        hidden: Hidden values of squeeze-excite, at most `MOST_HIDDEN`.
    """
    layout = "last" if channels_last else "first"
    fitting = [
        key
        for key in _TABLE
        if (key[0], key[2]) == (operation, layout) and key[1] <= capability and hidden <= key[3]
    ]
    latest = max(key[1] for key in fitting)
    return _TABLE[min(key for key in fitting if key[1] == latest)]


def excite_constants(
    *, hidden: int, activation: str, scales: bool, channels_last: bool, blocks: Blocks
) -> Constants:
    """Return what the squeeze-excite kernel takes."""
    return {
        "ACTIVATION": activation,
        "SCALES": scales,
        "CHANNELS_LAST": channels_last,
        "HIDDEN": max(16, 1 << (hidden - 1).bit_length()),
        "PIXELS": blocks.pixels,
        "CHANNELS": blocks.channels,
    }


def scale_constants(*, taps: int, channels_last: bool, blocks: Blocks) -> Constants:
    """Return what the kernel takes that scales channels."""
    return {
        "TAPS": taps,
        "CHANNELS_LAST": channels_last,
        "PIXELS": blocks.pixels,
        "CHANNELS": blocks.channels,
    }
