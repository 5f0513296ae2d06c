"""How a dense convolution is cut into programs; the tiles are those of a matrix product."""

from __future__ import annotations

import dataclasses

from kernels.gemm_blocks import (
    Constants,
    GemmBlocks,
    Plan,
    are_eights,
    blocks_for,
    fit_inner,
    split_steps,
)


def conv_plan(
    capability: tuple[int, int],
    bytes_each: int,
    rows: int,
    columns: int,
    channels: int,
    kernel: int,
) -> Plan:
    """Cut a convolution into programs.

    Args:
        capability: Compute capability; (0, 0) stands for the interpreter.
        bytes_each: Bytes of an element of the operands: 1, 2 or 4.
        rows: Output pixels of the whole batch.
        columns: Output channels.
        channels: Input channels.
        kernel: Kernel size in pixels.
    """
    run = kernel * channels
    blocks = blocks_for(capability, bytes_each, rows, columns)
    # The addresses of a window take registers: longer steps spill under Triton 3.6.
    blocks = dataclasses.replace(blocks, inner=min(blocks.inner, 16 if bytes_each == 4 else 64))
    blocks = fit_inner(blocks, bytes_each, run)
    tiles = -(-rows // blocks.rows) * -(-columns // blocks.columns)
    steps = kernel * -(-run // blocks.inner)
    each = split_steps(tiles, steps)
    return Plan(blocks=blocks, tiles=tiles, splits=-(-steps // each), split_steps=each)


def conv_constants(
    blocks: GemmBlocks, channels: int, columns: int, kernel: int, steps: tuple[int, int, int]
) -> Constants:
    """Return what the kernel takes beyond the constants of its epilogue and of its dtype.

    `steps` are stride, padding and dilation.
    """
    stride, padding, dilation = steps
    return {
        "KERNEL": kernel,
        "STRIDE": stride,
        "PADDING": padding,
        "DILATION": dilation,
        "WHOLE_TAPS": channels % blocks.inner == 0,
        "EIGHTS": are_eights(channels, columns),
        "ROWS": blocks.rows,
        "COLUMNS": blocks.columns,
        "INNER": blocks.inner,
        "GROUP": blocks.group,
    }
