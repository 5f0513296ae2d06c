"""Triton kernels of the depthwise convolution's gradients: of the input and of the weight.

The input's gradient is worked out channels-last or channels-first, as the forward pass; that of the
weight channels-last alone. Sums are float32. Offsets inside an image are 32-bit; what selects the
image is 64-bit.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def depthwise_input_grad_kernel(
    grad_ptr: tl.tensor,  # of the sums before the activation, laid out like x
    weight_ptr: tl.tensor,  # [KERNEL_ROWS * KERNEL_COLUMNS, channels]
    x_grad_ptr: tl.tensor,  # [batch, height, width, channels], or channels first
    grad_batch_stride: tl.tensor,  # elements from one image to the next
    x_batch_stride: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    height_out: tl.tensor,
    width_out: tl.tensor,
    KERNEL_ROWS: tl.constexpr,
    KERNEL_COLUMNS: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHANNELS: tl.constexpr,
    UNROLL: tl.constexpr,
) -> None:
    """Write one tile of ROWS x COLUMNS input pixels: gather every output that saw the pixel."""
    channel_blocks = tl.cdiv(channels, CHANNELS)
    column_tiles = tl.cdiv(width, COLUMNS)
    tiles = tl.cdiv(height, ROWS) * column_tiles
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
        grad_channel = channel
    else:
        pixel_stride = 1
        x_channel = channel * (height * width)
        grad_channel = channel * (height_out * width_out)
    x_offset = ((row * width + column) * pixel_stride)[:, None] + x_channel[None, :]
    grad_ptr += image * grad_batch_stride
    x_grad_ptr += image * x_batch_stride

    channel_mask = channel < channels
    x_mask = ((row < height) & (column < width))[:, None] & channel_mask[None, :]

    PADDING_ROWS: tl.constexpr = DILATION * (KERNEL_ROWS - 1) // 2
    PADDING_COLUMNS: tl.constexpr = DILATION * (KERNEL_COLUMNS - 1) // 2
    total = tl.zeros((ROWS * COLUMNS, CHANNELS), tl.float32)
    # A column of taps is written out along its rows.
    ROW_UNROLL: tl.constexpr = UNROLL if KERNEL_COLUMNS == 1 else 1
    COLUMN_UNROLL: tl.constexpr = UNROLL if UNROLL < KERNEL_COLUMNS else KERNEL_COLUMNS
    for tap_row in tl.range(0, KERNEL_ROWS, loop_unroll_factor=ROW_UNROLL):
        # Output row r meets this pixel at this tap when r * STRIDE = row + padding - tap row.
        scaled_row = row + (PADDING_ROWS - tap_row * DILATION)
        y_row = scaled_row // STRIDE
        row_offset = (y_row * width_out * pixel_stride)[:, None] + grad_channel[None, :]
        row_met = (scaled_row >= 0) & (scaled_row % STRIDE == 0) & (y_row < height_out)
        row_mask = row_met[:, None] & channel_mask[None, :]
        for tap_column in tl.range(0, KERNEL_COLUMNS, loop_unroll_factor=COLUMN_UNROLL):
            scaled_column = column + (PADDING_COLUMNS - tap_column * DILATION)
            y_column = scaled_column // STRIDE
            offset = row_offset + (y_column * pixel_stride)[:, None]
            met = (scaled_column >= 0) & (scaled_column % STRIDE == 0) & (y_column < width_out)
            mask = row_mask & met[:, None]
            tap_offset = (tap_row * KERNEL_COLUMNS + tap_column) * channels + channel
            grad = tl.load(grad_ptr + offset, mask=mask, other=0.0).to(tl.float32)
            tap = tl.load(weight_ptr + tap_offset, mask=channel_mask, other=0.0).to(tl.float32)
            total += grad * tap[None, :]

    tl.store(x_grad_ptr + x_offset, total.to(x_grad_ptr.dtype.element_ty), mask=x_mask)


@triton.jit  # type: ignore[untyped-decorator]
def depthwise_weight_grad_kernel(
    x_ptr: tl.tensor,  # [batch, height, width, channels]
    grad_ptr: tl.tensor,  # [batch, height_out, width_out, channels], before the activation
    partial_ptr: tl.tensor,  # [splits, KERNEL_ROWS * KERNEL_COLUMNS, channels], float32
    x_batch_stride: tl.tensor,  # elements from one image to the next
    grad_batch_stride: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    height_out: tl.tensor,
    width_out: tl.tensor,
    tiles: tl.tensor,  # runs of PIXELS outputs in the whole batch
    tiles_per_split: tl.tensor,
    KERNEL_ROWS: tl.constexpr,
    KERNEL_COLUMNS: tl.constexpr,
    TAPS: tl.constexpr,  # KERNEL_COLUMNS rounded up to a power of two
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Sum one row of taps over one split of the batch; the splits are summed outside."""
    channel_blocks = tl.cdiv(channels, CHANNELS)
    tiles_per_image = tl.cdiv(height_out * width_out, PIXELS)
    program = tl.program_id(0)
    channel = (program % channel_blocks) * CHANNELS + tl.arange(0, CHANNELS)
    tap_row = (program // channel_blocks) % KERNEL_ROWS
    split = program // channel_blocks // KERNEL_ROWS
    tap_column = tl.arange(0, TAPS)
    tap = tap_row * KERNEL_COLUMNS + tap_column
    partial_ptr += split.to(tl.int64) * (KERNEL_ROWS * KERNEL_COLUMNS) * channels

    channel_mask = channel < channels
    partial_mask = (tap_column < KERNEL_COLUMNS)[:, None] & channel_mask[None, :]

    PADDING_ROWS: tl.constexpr = DILATION * (KERNEL_ROWS - 1) // 2
    PADDING_COLUMNS: tl.constexpr = DILATION * (KERNEL_COLUMNS - 1) // 2
    total = tl.zeros((PIXELS, TAPS, CHANNELS), tl.float32)
    first = split * tiles_per_split
    for tile in range(first, tl.minimum(first + tiles_per_split, tiles)):
        image = (tile // tiles_per_image).to(tl.int64)
        pixel = (tile % tiles_per_image) * PIXELS + tl.arange(0, PIXELS)
        row = pixel // width_out
        x_row = row * STRIDE + tap_row * DILATION - PADDING_ROWS
        x_column = (pixel % width_out * STRIDE)[:, None]
        x_column = x_column + (tap_column * DILATION - PADDING_COLUMNS)[None]
        x_offset = ((x_row * width)[:, None] + x_column) * channels
        x_offset = x_offset[:, :, None] + channel[None, None, :]
        grad_offset = (pixel * channels)[:, None] + channel[None, :]
        seen = (x_row >= 0) & (x_row < height) & (row < height_out)
        x_mask = seen[:, None] & (x_column >= 0) & (x_column < width)
        x_mask = (x_mask & (tap_column < KERNEL_COLUMNS)[None])[:, :, None] & channel_mask[
            None, None, :
        ]
        grad_mask = (row < height_out)[:, None] & channel_mask[None, :]
        x = tl.load(x_ptr + image * x_batch_stride + x_offset, mask=x_mask, other=0.0)
        grad = tl.load(
            grad_ptr + image * grad_batch_stride + grad_offset, mask=grad_mask, other=0.0
        )
        total += x.to(tl.float32) * grad.to(tl.float32)[:, None, :]

    partial_offset = (tap * channels)[:, None] + channel[None, :]
    tl.store(partial_ptr + partial_offset, tl.sum(total, axis=0), mask=partial_mask)
