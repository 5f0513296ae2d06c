"""Triton kernel of the Inception depthwise convolution: its four branches in one launch.

A program takes a block of channels of one branch, so its taps are known where it runs. Gradients
are those of the plain version.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.activation_triton import INTERPRETED
from kernels.depthwise_conv_blocks import FEW_PROGRAMS
from kernels.depthwise_forward_triton import weighted_sum
from kernels.inception_depthwise import inception_depthwise_conv2d_plain
from kernels.inception_depthwise_blocks import launch_for
from kernels.launch_triton import launch
from kernels.recompute import with_plain_gradients

# The interpreter pays by the program, and has no multiprocessors to fill.
_FEW = 0 if INTERPRETED else FEW_PROGRAMS


@triton.jit  # type: ignore[untyped-decorator]
def _branch(
    x_ptr: tl.tensor,  # one image
    weight_ptr: tl.tensor,  # [group, KERNEL_ROWS * KERNEL_COLUMNS]
    bias_ptr: tl.tensor,  # [group]; may be None
    row: tl.tensor,
    column: tl.tensor,
    lane: tl.tensor,  # [CHANNELS], channels within the branch
    mask: tl.tensor,  # [CHANNELS]
    channel_offset: tl.tensor,  # [CHANNELS], in x
    height: tl.tensor,
    width: tl.tensor,
    pixel_stride: tl.tensor,
    KERNEL_ROWS: tl.constexpr,
    KERNEL_COLUMNS: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    UNROLL: tl.constexpr,
) -> tl.tensor:
    """Return the outputs of a block of a branch, [PIXELS, CHANNELS], in float32."""
    total = weighted_sum(
        x_ptr,
        weight_ptr,
        row,
        column,
        channel_offset,
        lane * (KERNEL_ROWS * KERNEL_COLUMNS),
        mask,
        height,
        width,
        pixel_stride,
        1,
        KERNEL_ROWS,
        KERNEL_COLUMNS,
        1,
        1,
        PIXELS,
        CHANNELS,
        UNROLL,
    )
    if bias_ptr is not None:
        total += tl.load(bias_ptr + lane, mask=mask, other=0.0).to(tl.float32)[None, :]
    return total


@triton.jit  # type: ignore[untyped-decorator]
def inception_depthwise_kernel(
    x_ptr: tl.tensor,  # [batch, height, width, channels] or [batch, channels, height, width]
    square_ptr: tl.tensor,  # [group, SQUARE * SQUARE]
    row_ptr: tl.tensor,  # [group, BAND]
    column_ptr: tl.tensor,  # [group, BAND]
    square_bias_ptr: tl.tensor,  # [group], as the next two; each may be None
    row_bias_ptr: tl.tensor,
    column_bias_ptr: tl.tensor,
    y_ptr: tl.tensor,  # like x
    batch_stride: tl.tensor,  # elements from one image to the next
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    group: tl.tensor,  # channels of a branch
    SQUARE: tl.constexpr,
    BAND: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHANNELS: tl.constexpr,
    UNROLL: tl.constexpr,
) -> None:
    """Write one tile of ROWS x COLUMNS pixels by CHANNELS channels of one branch of one image."""
    PIXELS: tl.constexpr = ROWS * COLUMNS
    same = channels - 3 * group
    same_blocks = tl.cdiv(same, CHANNELS)
    group_blocks = tl.cdiv(group, CHANNELS)
    channel_blocks = same_blocks + 3 * group_blocks
    column_tiles = tl.cdiv(width, COLUMNS)
    tiles = tl.cdiv(height, ROWS) * column_tiles
    program = tl.program_id(0)
    block = program % channel_blocks
    tile = (program // channel_blocks) % tiles
    image = (program // channel_blocks // tiles).to(tl.int64)
    pixel = tl.arange(0, PIXELS)
    row = (tile // column_tiles) * ROWS + pixel // COLUMNS
    column = (tile % column_tiles) * COLUMNS + pixel % COLUMNS
    if CHANNELS_LAST:
        pixel_stride = channels
        channel_stride = 1
    else:
        pixel_stride = 1
        channel_stride = height * width
    pixel_offset = ((row * width + column) * pixel_stride)[:, None]
    pixel_mask = ((row < height) & (column < width))[:, None]
    x_ptr += image * batch_stride
    y_ptr += image * batch_stride

    if block < same_blocks:
        channel = block * CHANNELS + tl.arange(0, CHANNELS)
        offset = pixel_offset + (channel * channel_stride)[None, :]
        mask = pixel_mask & (channel < same)[None, :]
        tl.store(y_ptr + offset, tl.load(x_ptr + offset, mask=mask), mask=mask)
    else:
        place = block - same_blocks
        branch = place // group_blocks
        lane = (place % group_blocks) * CHANNELS + tl.arange(0, CHANNELS)
        lane_mask = lane < group
        channel = same + branch * group + lane
        channel_offset = channel * channel_stride
        total = tl.zeros((PIXELS, CHANNELS), tl.float32)
        if branch == 0:
            total = _branch(
                x_ptr,
                square_ptr,
                square_bias_ptr,
                row,
                column,
                lane,
                lane_mask,
                channel_offset,
                height,
                width,
                pixel_stride,
                SQUARE,
                SQUARE,
                PIXELS,
                CHANNELS,
                UNROLL,
            )
        elif branch == 1:
            total = _branch(
                x_ptr,
                row_ptr,
                row_bias_ptr,
                row,
                column,
                lane,
                lane_mask,
                channel_offset,
                height,
                width,
                pixel_stride,
                1,
                BAND,
                PIXELS,
                CHANNELS,
                UNROLL,
            )
        else:
            total = _branch(
                x_ptr,
                column_ptr,
                column_bias_ptr,
                row,
                column,
                lane,
                lane_mask,
                channel_offset,
                height,
                width,
                pixel_stride,
                BAND,
                1,
                PIXELS,
                CHANNELS,
                UNROLL,
            )
        offset = pixel_offset + channel_offset[None, :]
        mask = pixel_mask & lane_mask[None, :]
        tl.store(y_ptr + offset, total.to(y_ptr.dtype.element_ty), mask=mask)


def inception_depthwise_triton(x: Tensor, *tensors: Tensor | None) -> Tensor:
    """Run `inception_depthwise_conv2d` on the Triton kernel; arguments its own, already checked."""
    return with_plain_gradients(_forward, inception_depthwise_conv2d_plain, x, *tensors)


def _forward(x: Tensor, *tensors: Tensor | None) -> Tensor:
    last = x.is_contiguous(memory_format=torch.channels_last) or not x.is_contiguous()
    x = x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    batch, channels, height, width = x.shape
    y = torch.empty_like(x)
    square, row = tensors[:2]
    assert square is not None
    assert row is not None
    taps = (square.shape[-1], row.shape[-1])
    group = square.shape[0]
    plan = launch_for((batch, channels, height, width), group, taps, channels_last=last, few=_FEW)
    launch(
        inception_depthwise_kernel,
        plan.programs,
        (
            x,
            *(None if tensor is None else tensor.contiguous() for tensor in tensors),
            y,
            *(x[0].numel(), height, width, channels, group),
        ),
        plan.constants,
        warps=plan.blocks.warps,
    )
    return y
