"""Triton kernels of max and average pooling: forward and the input's gradient.

Channels-last and channels-first maps are read as they lie. Sums are float32. The gradient gathers
from every window that saw a pixel, so there are no atomics; a max pool that will be differentiated
remembers which tap was the largest. Offsets inside an image are 32-bit, between images 64-bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.activation_triton import capability
from kernels.launch_triton import launch
from kernels.layout import dense_image, empty_image, lay_image
from kernels.pool_blocks import Blocks, Constants, blocks_for, window_constants


@triton.jit  # type: ignore[untyped-decorator]
def pool_forward_kernel(
    x_ptr: tl.tensor,  # [batch, height, width, channels], or channels before height
    y_ptr: tl.tensor,  # [batch, height_out, width_out, channels], likewise
    tap_ptr: tl.tensor,  # like y, int16: the largest tap; not written unless SAVE_TAP
    x_batch_stride: tl.tensor,  # elements from one image to the next
    y_batch_stride: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    height_out: tl.tensor,
    width_out: tl.tensor,
    MAXIMUM: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    COUNT_PADDING: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    SAVE_TAP: tl.constexpr,
    UNROLL: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Write PIXELS outputs of CHANNELS channels of one image."""
    channel_blocks = tl.cdiv(channels, CHANNELS)
    pixels = height_out * width_out
    pixel_blocks = tl.cdiv(pixels, PIXELS)
    program = tl.program_id(0)
    channel = (program % channel_blocks) * CHANNELS + tl.arange(0, CHANNELS)
    pixel = (program // channel_blocks) % pixel_blocks * PIXELS + tl.arange(0, PIXELS)
    image = (program // channel_blocks // pixel_blocks).to(tl.int64)
    row = pixel // width_out * STRIDE - PADDING
    column = pixel % width_out * STRIDE - PADDING
    if CHANNELS_LAST:
        y_offset = (pixel * channels)[:, None] + channel[None, :]
        x_step, x_channel = channels, channel
    else:
        y_offset = pixel[:, None] + (channel * pixels)[None, :]
        x_step, x_channel = 1, channel * (height * width)
    x_ptr += image * x_batch_stride
    y_ptr += image * y_batch_stride
    tap_ptr += image * y_batch_stride

    channel_mask = channel < channels
    y_mask = (pixel < pixels)[:, None] & channel_mask[None, :]

    EMPTY: tl.constexpr = float("-inf") if MAXIMUM else 0.0
    total = tl.full((PIXELS, CHANNELS), EMPTY, tl.float32)
    best = tl.zeros((PIXELS, CHANNELS), tl.int32)
    for tap_row in range(KERNEL):
        x_row = row + tap_row
        row_mask = (x_row >= 0) & (x_row < height)
        for tap_column in tl.range(0, KERNEL, loop_unroll_factor=UNROLL):
            x_column = column + tap_column
            seen = row_mask & (x_column >= 0) & (x_column < width)
            x_offset = ((x_row * width + x_column) * x_step)[:, None] + x_channel[None, :]
            mask = seen[:, None] & channel_mask[None, :]
            x = tl.load(x_ptr + x_offset, mask=mask, other=EMPTY).to(tl.float32)
            if MAXIMUM:
                # As in torch: the first of equal values, and a NaN beats every number.
                larger = (x > total) | (x != x)
                total = tl.where(larger, x, total)
                if SAVE_TAP:
                    best = tl.where(larger, tap_row * KERNEL + tap_column, best)
            else:
                total += x
    if not MAXIMUM:
        if COUNT_PADDING:
            total /= KERNEL * KERNEL
        else:
            rows = tl.minimum(row + KERNEL, height) - tl.maximum(row, 0)
            columns = tl.minimum(column + KERNEL, width) - tl.maximum(column, 0)
            # Pixels past the last have no window.
            total /= tl.maximum(rows * columns, 1).to(tl.float32)[:, None]

    tl.store(y_ptr + y_offset, total.to(y_ptr.dtype.element_ty), mask=y_mask)
    if SAVE_TAP:
        tl.store(tap_ptr + y_offset, best.to(tl.int16), mask=y_mask)


@triton.jit  # type: ignore[untyped-decorator]
def pool_backward_kernel(
    grad_ptr: tl.tensor,  # [batch, height_out, width_out, channels], or channels before height
    tap_ptr: tl.tensor,  # like grad, int16; not read unless MAXIMUM
    x_grad_ptr: tl.tensor,  # [batch, height, width, channels], or channels before height
    grad_batch_stride: tl.tensor,  # elements from one image to the next
    x_batch_stride: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    height_out: tl.tensor,
    width_out: tl.tensor,
    MAXIMUM: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    COUNT_PADDING: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    UNROLL: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Write PIXELS input pixels of CHANNELS channels of one image."""
    channel_blocks = tl.cdiv(channels, CHANNELS)
    pixels = height * width
    pixel_blocks = tl.cdiv(pixels, PIXELS)
    program = tl.program_id(0)
    channel = (program % channel_blocks) * CHANNELS + tl.arange(0, CHANNELS)
    pixel = (program // channel_blocks) % pixel_blocks * PIXELS + tl.arange(0, PIXELS)
    image = (program // channel_blocks // pixel_blocks).to(tl.int64)
    row = pixel // width + PADDING
    column = pixel % width + PADDING
    if CHANNELS_LAST:
        x_offset = (pixel * channels)[:, None] + channel[None, :]
        y_step, y_channel = channels, channel
    else:
        x_offset = pixel[:, None] + (channel * pixels)[None, :]
        y_step, y_channel = 1, channel * (height_out * width_out)
    grad_ptr += image * grad_batch_stride
    tap_ptr += image * grad_batch_stride
    x_grad_ptr += image * x_batch_stride

    channel_mask = channel < channels
    x_mask = (pixel < pixels)[:, None] & channel_mask[None, :]

    total = tl.zeros((PIXELS, CHANNELS), tl.float32)
    for tap_row in range(KERNEL):
        # Output row r meets this pixel at this tap when r * STRIDE = row - tap row.
        scaled_row = row - tap_row
        y_row = scaled_row // STRIDE
        row_met = (scaled_row >= 0) & (scaled_row % STRIDE == 0) & (y_row < height_out)
        for tap_column in tl.range(0, KERNEL, loop_unroll_factor=UNROLL):
            scaled_column = column - tap_column
            y_column = scaled_column // STRIDE
            met = (scaled_column >= 0) & (scaled_column % STRIDE == 0) & (y_column < width_out)
            mask = (row_met & met)[:, None] & channel_mask[None, :]
            y_offset = ((y_row * width_out + y_column) * y_step)[:, None] + y_channel[None, :]
            grad = tl.load(grad_ptr + y_offset, mask=mask, other=0.0).to(tl.float32)
            if MAXIMUM:
                tap = tl.load(tap_ptr + y_offset, mask=mask, other=-1).to(tl.int32)
                grad = tl.where(tap == tap_row * KERNEL + tap_column, grad, 0.0)
            elif not COUNT_PADDING:
                top = y_row * STRIDE - PADDING
                left = y_column * STRIDE - PADDING
                rows = tl.minimum(top + KERNEL, height) - tl.maximum(top, 0)
                columns = tl.minimum(left + KERNEL, width) - tl.maximum(left, 0)
                grad /= tl.maximum(rows * columns, 1).to(tl.float32)[:, None]
            total += grad
    if not MAXIMUM and COUNT_PADDING:
        total /= KERNEL * KERNEL

    tl.store(x_grad_ptr + x_offset, total.to(x_grad_ptr.dtype.element_ty), mask=x_mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is taken of each window, and where the windows lie."""

    maximum: bool
    """Whether the largest value is taken; else the mean."""
    kernel: int
    """Side of a window, in pixels."""
    stride: int
    """Step between windows, in pixels."""
    padding: int
    """Rows and columns of padding on every side."""
    count_include_pad: bool
    """Whether padding counts in a mean."""

    def constants(self, channels_last: bool, blocks: Blocks) -> Constants:
        """Return what both kernels take."""
        return window_constants(
            maximum=self.maximum,
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            count_include_pad=self.count_include_pad,
            channels_last=channels_last,
            blocks=blocks,
        )

    def outputs(self, size: int) -> int:
        """Count the windows along `size` pixels."""
        return (size + 2 * self.padding - self.kernel) // self.stride + 1


def pool_triton(x: Tensor, window: Window) -> Tensor:
    """Pool the windows of `x` on the Triton kernels; the arguments are checked."""
    if torch.is_grad_enabled() and x.requires_grad:
        apply: Callable[..., Tensor] = _Pool.apply
        return apply(x, window)
    return _forward(*dense_image(x), window, save_tap=False)[0]


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window) -> Tensor:
        x, channels_last = dense_image(x)
        y, tap = _forward(x, channels_last, window, save_tap=window.maximum)
        ctx.save_for_backward(tap if window.maximum else None)
        ctx.settings = (tuple(x.shape[2:]), channels_last, window)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (tap,) = ctx.saved_tensors
        (height, width), channels_last, window = ctx.settings
        grad = lay_image(grad, channels_last)
        x_grad = empty_image(grad, height, width, channels_last)
        channels = grad.shape[1]
        blocks = blocks_for("window", capability(grad), channels_last, channels, height * width)
        launch(
            pool_backward_kernel,
            _programs(x_grad, blocks),
            (
                *(grad, grad if tap is None else tap, x_grad),
                *(grad[0].numel(), x_grad[0].numel(), height, width, channels, *grad.shape[2:]),
            ),
            window.constants(channels_last, blocks),
            warps=blocks.warps,
        )
        return x_grad, None


def _forward(
    x: Tensor, channels_last: bool, window: Window, *, save_tap: bool
) -> tuple[Tensor, Tensor]:
    """Return the output, and the largest tap of each window (the output unless `save_tap`)."""
    _, channels, height, width = x.shape
    height_out, width_out = window.outputs(height), window.outputs(width)
    y = empty_image(x, height_out, width_out, channels_last)
    tap = torch.empty_like(y, dtype=torch.int16) if save_tap else y
    pixels = height_out * width_out
    blocks = blocks_for("window", capability(x), channels_last, channels, pixels)
    launch(
        pool_forward_kernel,
        _programs(y, blocks),
        (
            *(x, y, tap, x[0].numel(), y[0].numel()),
            *(height, width, channels, height_out, width_out),
        ),
        window.constants(channels_last, blocks) | {"SAVE_TAP": save_tap},
        warps=blocks.warps,
    )
    return y, tap


def _programs(written: Tensor, blocks: Blocks) -> int:
    batch, channels, height, width = written.shape
    tiles: int = triton.cdiv(height * width, blocks.pixels)
    return batch * tiles * -(-channels // blocks.channels)
