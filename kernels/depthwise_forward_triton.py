"""Triton kernel of the depthwise convolution's forward pass, and the sum over taps inside it.

Channels-last and channels-first images are read and written where they are; only the strides
differ. Sums are float32. Offsets inside an image are 32-bit; what selects the image is 64-bit.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.activation_triton import activate


@triton.jit  # type: ignore[untyped-decorator]
def weighted_sum(
    x_ptr: tl.tensor,  # one image, [height, width, channels] or [channels, height, width]
    weight_ptr: tl.tensor,  # [KERNEL_ROWS * KERNEL_COLUMNS, channels] or the other way round
    row: tl.tensor,  # [PIXELS], of the output
    column: tl.tensor,  # [PIXELS]
    channel_offset: tl.tensor,  # [CHANNELS], in x
    weight_offset: tl.tensor,  # [CHANNELS], in weight
    channel_mask: tl.tensor,  # [CHANNELS]
    height: tl.tensor,
    width: tl.tensor,
    pixel_stride: tl.tensor,  # elements of x from one column to the next
    tap_stride: tl.tensor,  # elements of weight from one tap to the next
    KERNEL_ROWS: tl.constexpr,
    KERNEL_COLUMNS: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    UNROLL: tl.constexpr,  # most taps in a run
) -> tl.tensor:
    """Return what PIXELS outputs of CHANNELS channels sum up, in float32."""
    PADDING_ROWS: tl.constexpr = DILATION * (KERNEL_ROWS - 1) // 2
    PADDING_COLUMNS: tl.constexpr = DILATION * (KERNEL_COLUMNS - 1) // 2
    # A column of taps is written out along its rows.
    ROW_UNROLL: tl.constexpr = UNROLL if KERNEL_COLUMNS == 1 else 1
    COLUMN_UNROLL: tl.constexpr = UNROLL if UNROLL < KERNEL_COLUMNS else KERNEL_COLUMNS
    total = tl.zeros((PIXELS, CHANNELS), tl.float32)
    for tap_row in tl.range(0, KERNEL_ROWS, loop_unroll_factor=ROW_UNROLL):
        x_row = row * STRIDE + (tap_row * DILATION - PADDING_ROWS)
        row_offset = (x_row * width * pixel_stride)[:, None] + channel_offset[None, :]
        row_mask = ((x_row >= 0) & (x_row < height))[:, None] & channel_mask[None, :]
        for tap_column in tl.range(0, KERNEL_COLUMNS, loop_unroll_factor=COLUMN_UNROLL):
            x_column = column * STRIDE + (tap_column * DILATION - PADDING_COLUMNS)
            x_offset = row_offset + (x_column * pixel_stride)[:, None]
            x_mask = row_mask & ((x_column >= 0) & (x_column < width))[:, None]
            tap_offset = (tap_row * KERNEL_COLUMNS + tap_column) * tap_stride + weight_offset
            x = tl.load(x_ptr + x_offset, mask=x_mask, other=0.0).to(tl.float32)
            tap = tl.load(weight_ptr + tap_offset, mask=channel_mask, other=0.0).to(tl.float32)
            total += x * tap[None, :]
    return total


@triton.jit  # type: ignore[untyped-decorator]
def depthwise_forward_kernel(
    x_ptr: tl.tensor,  # [batch, height, width, channels] or [batch, channels, height, width]
    weight_ptr: tl.tensor,  # [KERNEL_ROWS * KERNEL_COLUMNS, channels] if PACKED, else transposed
    bias_ptr: tl.tensor,  # [channels]; may be None
    residual_ptr: tl.tensor,  # like y; may be None
    y_ptr: tl.tensor,  # like x, with height_out and width_out
    pre_ptr: tl.tensor,  # like y: the sums before the activation; may be None
    x_batch_stride: tl.tensor,  # elements from one image to the next
    y_batch_stride: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    height_out: tl.tensor,
    width_out: tl.tensor,
    KERNEL_ROWS: tl.constexpr,
    KERNEL_COLUMNS: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    ACTIVATION: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    PACKED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHANNELS: tl.constexpr,
    UNROLL: tl.constexpr,
) -> None:
    """Write one tile of ROWS x COLUMNS outputs by CHANNELS channels of one image."""
    channel_blocks = tl.cdiv(channels, CHANNELS)
    column_tiles = tl.cdiv(width_out, COLUMNS)
    tiles = tl.cdiv(height_out, ROWS) * column_tiles
    program = tl.program_id(0)
    channel = (program % channel_blocks) * CHANNELS + tl.arange(0, CHANNELS)
    tile = (program // channel_blocks) % tiles
    image = (program // channel_blocks // tiles).to(tl.int64)
    pixel = tl.arange(0, ROWS * COLUMNS)
    row = (tile // column_tiles) * ROWS + pixel // COLUMNS
    column = (tile % column_tiles) * COLUMNS + pixel % COLUMNS
    if CHANNELS_LAST:
        pixel_stride = channels
        x_channel = channel
        y_channel = channel
    else:
        pixel_stride = 1
        x_channel = channel * (height * width)
        y_channel = channel * (height_out * width_out)
    if PACKED:
        tap_stride = channels
        weight_offset = channel
    else:
        tap_stride = 1
        weight_offset = channel * (KERNEL_ROWS * KERNEL_COLUMNS)
    y_offset = ((row * width_out + column) * pixel_stride)[:, None] + y_channel[None, :]
    y_offset += image * y_batch_stride

    channel_mask = channel < channels
    y_mask = ((row < height_out) & (column < width_out))[:, None] & channel_mask[None, :]

    total = weighted_sum(
        x_ptr + image * x_batch_stride,
        weight_ptr,
        row,
        column,
        x_channel,
        weight_offset,
        channel_mask,
        height,
        width,
        pixel_stride,
        tap_stride,
        KERNEL_ROWS,
        KERNEL_COLUMNS,
        STRIDE,
        DILATION,
        ROWS * COLUMNS,
        CHANNELS,
        UNROLL,
    )
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + channel, mask=channel_mask, other=0.0).to(tl.float32)
        total += bias[None, :]
    if pre_ptr is not None:
        tl.store(pre_ptr + y_offset, total.to(pre_ptr.dtype.element_ty), mask=y_mask)
    y = activate(total, ACTIVATION)
    if residual_ptr is not None:
        y += tl.load(residual_ptr + y_offset, mask=y_mask, other=0.0).to(tl.float32)
    tl.store(y_ptr + y_offset, y.to(y_ptr.dtype.element_ty), mask=y_mask)
