"""Block sizes of the depthwise convolution's kernels, and the constants they are compiled with.

The one table of the operation. A launch and a compilation ahead of time both read it here, so what
`kernels.aot` reports is what would run.
"""

from __future__ import annotations

from dataclasses import dataclass

Constants = dict[str, int | bool | str | None]
"""Compile-time arguments of a kernel by name."""


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
    """Most taps of a kernel row that are written out in a run; not used by the weight gradient."""


def _gather(rows: int, columns: int, unroll: int) -> Blocks:
    return Blocks(rows=rows, columns=columns, channels=32, warps=4, unroll=unroll)


def _weight_grad(pixels: int) -> Blocks:
    return Blocks(rows=1, columns=pixels, channels=32, warps=4)


# (operation, earliest compute capability, kernel class, map class) -> Blocks; see `blocks_for`.
# Chosen from code compiled for sm_80 and sm_90, not by timing: no spills first, at most 128
# registers next, then the fewest instructions for each multiply-add.
_TABLE: dict[tuple[str, tuple[int, int], str, str], Blocks] = {
    ("gather", (0, 0), "3", "narrow"): _gather(8, 8, 1),
    ("gather", (0, 0), "3", "wide"): _gather(4, 16, 1),
    ("gather", (0, 0), "5-7", "narrow"): _gather(8, 8, 8),
    ("gather", (0, 0), "5-7", "wide"): _gather(4, 16, 8),
    ("gather", (0, 0), "9-31", "narrow"): _gather(8, 8, 2),
    ("gather", (0, 0), "9-31", "wide"): _gather(4, 16, 2),
    # Unrolled further, a half-precision kernel takes 139 registers here (72 on sm_80).
    ("gather", (9, 0), "5-7", "narrow"): _gather(8, 8, 4),
    ("gather", (9, 0), "5-7", "wide"): _gather(4, 16, 4),
    ("weight_grad", (0, 0), "3", "narrow"): _weight_grad(16),
    ("weight_grad", (0, 0), "3", "wide"): _weight_grad(16),
    ("weight_grad", (0, 0), "5-7", "narrow"): _weight_grad(16),
    ("weight_grad", (0, 0), "5-7", "wide"): _weight_grad(16),
    ("weight_grad", (0, 0), "9-31", "narrow"): _weight_grad(4),
    ("weight_grad", (0, 0), "9-31", "wide"): _weight_grad(4),
}


def blocks_for(operation: str, capability: tuple[int, int], kernel: int, width: int) -> Blocks:
    """Look up the block sizes of an operation.

    Args:
        operation: `gather` (forward and input gradient) or `weight_grad`.
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for any, the interpreter included.
        kernel: Kernel size in pixels: its class is "3", "5-7" or "9-31".
        width: Columns of the map that is written: "narrow" up to 14, "wide" above.
    """
    size = "3" if kernel <= 3 else "5-7" if kernel <= 7 else "9-31"
    shape = (size, "narrow" if width <= 14 else "wide")
    known = [key[1] for key in _TABLE if key[0] == operation and key[2:] == shape]
    return _TABLE[(operation, max(c for c in known if c <= capability), *shape)]


def gather_constants(kernel: int, stride: int, dilation: int, blocks: Blocks) -> Constants:
    """Return what the forward and the input-gradient kernel share."""
    return {
        "KERNEL": kernel,
        "STRIDE": stride,
        "DILATION": dilation,
        "ROWS": blocks.rows,
        "COLUMNS": blocks.columns,
        "CHANNELS": blocks.channels,
        "UNROLL": min(blocks.unroll, kernel),
    }


def fused_constants(activation: str, *, has_bias: bool, save_pre: bool) -> Constants:
    """Return what the forward kernel takes beyond `gather_constants`."""
    return {"ACTIVATION": activation, "HAS_BIAS": has_bias, "SAVE_PRE": save_pre}


def weight_grad_constants(kernel: int, stride: int, dilation: int, blocks: Blocks) -> Constants:
    """Return what the weight-gradient kernel takes."""
    return {
        "KERNEL": kernel,
        "TAPS": 1 << (kernel - 1).bit_length(),
        "STRIDE": stride,
        "DILATION": dilation,
        "PIXELS": blocks.columns,
        "CHANNELS": blocks.channels,
    }
