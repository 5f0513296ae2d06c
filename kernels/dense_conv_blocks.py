"""How a dense convolution is cut into programs; the tiles are those of a matrix product."""

from __future__ import annotations

import dataclasses

from kernels.gemm_blocks import Constants, GemmBlocks, Plan, blocks_for, split_steps


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
    blocks = blocks_for(capability, bytes_each, rows, columns)
    run = kernel * channels
    # As much as fits a step, but first of all as little padding of a run as can be.
    sizes = [1 << power for power in range(4, blocks.inner.bit_length())]
    least = 32 if bytes_each == 1 else 16
    inner = min(
        (size for size in sizes if size >= least), key=lambda size: (-(-run // size) * size, -size)
    )
    blocks = dataclasses.replace(blocks, inner=inner)
    tiles = -(-rows // blocks.rows) * -(-columns // blocks.columns)
    steps = kernel * -(-run // inner)
    each = split_steps(tiles, steps)
    return Plan(blocks=blocks, tiles=tiles, splits=-(-steps // each), split_steps=each)


def conv_constants(
    blocks: GemmBlocks, channels: int, kernel: int, stride: int, padding: int, dilation: int
) -> Constants:
    """Return what the kernel takes beyond the constants of its epilogue and of its dtype."""
    return {
        "KERNEL": kernel,
        "STRIDE": stride,
        "PADDING": padding,
        "DILATION": dilation,
        "WHOLE_TAPS": channels % blocks.inner == 0,
        "ROWS": blocks.rows,
        "COLUMNS": blocks.columns,
        "INNER": blocks.inner,
        "GROUP": blocks.group,
    }
