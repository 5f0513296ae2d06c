"""Block sizes of the layer and RMS norm kernels, and the constants that they are compiled with."""

from __future__ import annotations

from dataclasses import dataclass

Constants = dict[str, int | bool | str | None]
"""Compile-time arguments of a kernel by name."""

MOST_COLUMNS = 8192
"""Longest row, in values, that a program holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What one program covers; every number is a power of two."""

    rows: int
    """Rows at a time."""
    columns: int
    """A whole row, rounded up."""
    warps: int
    """Warps of 32 threads."""


# (operation, earliest compute capability, most columns of this class) -> values at a time, warps.
# A program holds whole rows in registers, so that memory is read once, and several where rows are
# short: 16 values a thread, 8 in the backward pass, which holds four tensors of that size. Chosen
# from code compiled for sm_80 and sm_90, not by timing: no spills, at most 72 registers.
_TABLE: dict[tuple[str, tuple[int, int], int], tuple[int, int]] = {
    ("forward", (0, 0), 2048): (2048, 4),
    ("forward", (0, 0), 4096): (4096, 8),
    ("forward", (0, 0), 8192): (8192, 16),
    ("backward", (0, 0), 64): (1024, 4),
    # With 1,024 values for 4 warps the half-precision kernel spills here, on sm_80.
    ("backward", (0, 0), 128): (2048, 8),
    ("backward", (0, 0), 1024): (1024, 4),
    ("backward", (0, 0), 2048): (2048, 8),
    ("backward", (0, 0), 4096): (4096, 16),
    ("backward", (0, 0), 8192): (8192, 32),
}


def blocks_for(operation: str, capability: tuple[int, int], columns: int) -> Blocks:
    """Look up the block sizes of an operation.

    Args:
        operation: `forward` or `backward`.
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for any, the interpreter included.
        columns: Values in a row, at most `MOST_COLUMNS`.
    """
    mine = [key[1:] for key in _TABLE if key[0] == operation and key[1] <= capability]
    latest = max(earliest for earliest, _ in mine)
    fitting = min(most for earliest, most in mine if earliest == latest and columns <= most)
    values, warps = _TABLE[operation, latest, fitting]
    rounded = max(16, 1 << (columns - 1).bit_length())
    return Blocks(rows=values // rounded, columns=rounded, warps=warps)


def forward_constants(
    *, rms: bool, has_weight: bool, has_bias: bool, save: bool, activation: str, blocks: Blocks
) -> Constants:
    """Return what the forward kernel takes."""
    return {
        "RMS": rms,
        "HAS_WEIGHT": has_weight,
        "HAS_BIAS": has_bias,
        "SAVE": save,
        "ACTIVATION": activation,
        "ROWS": blocks.rows,
        "COLUMNS": blocks.columns,
    }


def backward_constants(
    *, rms: bool, has_weight: bool, weight_grad: bool, bias_grad: bool, blocks: Blocks
) -> Constants:
    """Return what the backward kernel takes."""
    return {
        "RMS": rms,
        "HAS_WEIGHT": has_weight,
        "WEIGHT_GRAD": weight_grad,
        "BIAS_GRAD": bias_grad,
        "ROWS": blocks.rows,
        "COLUMNS": blocks.columns,
    }
