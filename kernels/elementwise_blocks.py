"""Block sizes of the element-wise kernel, and the constants that it is compiled with."""

from __future__ import annotations

from dataclasses import dataclass

Constants = dict[str, int | bool | str | None]
"""Compile-time arguments of a kernel by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What one program covers; every number is a power of two."""

    rows: int
    """Lines of memory."""
    columns: int
    """Neighbouring values of a line."""
    warps: int
    """Warps of 32 threads."""


# Earliest compute capability -> values at a time, most of them in a line, warps. 2,048 values for
# 128 threads: two 16-byte loads a thread in half precision, four in float32, to hide memory's
# latency. Chosen from code compiled for sm_80 and sm_90, not by timing: no spills, at most 64
# registers.
_TABLE: dict[tuple[int, int], tuple[int, int, int]] = {(0, 0): (2048, 1024, 4)}


def blocks_for(capability: tuple[int, int], columns: int) -> Blocks:
    """Look up the block sizes.

    Args:
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for any, the interpreter included.
        columns: Neighbouring values of a line: channels if channels-last, else pixels.
    """
    values, most, warps = _TABLE[max(known for known in _TABLE if known <= capability)]
    rounded = min(max(16, 1 << (columns - 1).bit_length()), most)
    return Blocks(rows=values // rounded, columns=rounded, warps=warps)


def elementwise_constants(
    *,
    channels_last: bool,
    normalise: bool,
    has_weight: bool,
    has_bias: bool,
    residual: str,
    activation: str,
    blocks: Blocks,
) -> Constants:
    """Return what the kernel takes."""
    return {
        "CHANNELS_LAST": channels_last,
        "NORMALISE": normalise,
        "HAS_WEIGHT": has_weight,
        "HAS_BIAS": has_bias,
        "RESIDUAL": residual,
        "ACTIVATION": activation,
        "ROWS": blocks.rows,
        "COLUMNS": blocks.columns,
    }
