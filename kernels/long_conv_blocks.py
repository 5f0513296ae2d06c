"""Sizes of the long convolution's transforms, and what its kernel is compiled with."""

from __future__ import annotations

from dataclasses import dataclass

Constants = dict[str, int | bool | str | None]
"""Compile-time arguments of a kernel by name."""

LEAST_SIZE = 256
"""Shortest transform: both factors are 16, the least side of a matrix product."""

MOST_SIZE = {"half": 2048, "float": 1024}
"""Longest transform that the kernel serves, by precision: a program holds all of it in registers,
and float32 operands twice."""

PROGRAMS = 1024
"""Programs that a launch is split into at most, if there are so many sequences; each keeps the
matrices of the transform for the sequences of one channel."""


STAGES = 1
"""Stages of the loop: more would need shared memory for every matrix in each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """How a transform is split; every number is a power of two."""

    rows: int
    """First factor of the size, N1."""
    columns: int
    """Second factor, N2."""
    warps: int
    """Warps of 32 threads."""


# (earliest compute capability, precision, size) -> N1, N2, warps. Factors as even as they can be
# make the fewest multiplications; 32 x 32 spills in float32. Chosen from code compiled for sm_80
# and sm_90, not by timing: no spills. Twice the longest size spilled in every split tried.
_TABLE: dict[tuple[tuple[int, int], str, int], tuple[int, int, int]] = {
    ((0, 0), "half", 256): (16, 16, 2),
    ((0, 0), "half", 512): (16, 32, 2),
    ((0, 0), "half", 1024): (32, 32, 4),
    ((0, 0), "half", 2048): (32, 64, 8),
    ((0, 0), "float", 256): (16, 16, 4),
    ((0, 0), "float", 512): (16, 32, 4),
    ((0, 0), "float", 1024): (16, 64, 8),
}


def blocks_for(capability: tuple[int, int], half: bool, size: int) -> Blocks:
    """Look up how a transform is split.

    Args:
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for any, the interpreter included.
        half: Whether the dtype is float16 or bfloat16; else it is float32.
        size: Its length, a power of two from `LEAST_SIZE` to that of `MOST_SIZE`.
    """
    latest = max(key[0] for key in _TABLE if key[0] <= capability)
    rows, columns, warps = _TABLE[latest, "half" if half else "float", size]
    return Blocks(rows=rows, columns=columns, warps=warps)


def transform_size(length: int, taps: int, *, causal: bool) -> int:
    """Return the length of the transform: a power of two in which nothing wraps round wrongly.

    Args:
        length: Length of the sequences.
        taps: Length of the kernel.
        causal: Whether the kernel has no negative lags.
    """
    if not causal and taps >= LEAST_SIZE and taps & (taps - 1) == 0:
        return taps
    needed = length + min(taps, length) - 1 if causal else 2 * length - 1
    return max(LEAST_SIZE, 1 << (needed - 1).bit_length())


def long_conv_constants(
    *, half: bool, has_bias: bool, conjugate: bool, blocks: Blocks
) -> Constants:
    """Return what the kernel takes."""
    return {
        "HAS_BIAS": has_bias,
        "CONJUGATE": conjugate,
        # TF32 has the mantissa of float16 and the exponent of float32, so nothing overflows. Three
        # products of TF32 numbers have nearly the precision of float32.
        "PRECISION": "tf32" if half else "tf32x3",
        "ROWS": blocks.rows,
        "COLUMNS": blocks.columns,
    }
