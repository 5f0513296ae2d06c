"""Triton kernels of the depthwise convolution: forward, and the gradients of input and weight.

Everything is channels-last: neighbouring threads take neighbouring channels, so loads are whole
lines, and a block of channels shares the work on addresses. Sums are float32. Offsets inside an
image are 32-bit; what selects the image is 64-bit. The block sizes come from one table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.activation_triton import ACTIVATION_GRADS, activate, capability
from kernels.depthwise_conv_blocks import (
    Blocks,
    Constants,
    blocks_for,
    fused_constants,
    gather_constants,
    weight_grad_constants,
)

_WEIGHT_GRAD_PROGRAMS = 1024  # Enough to fill any GPU; a constant, so that sums are reproducible.


@triton.jit  # type: ignore[untyped-decorator]
def depthwise_forward_kernel(
    x_ptr: tl.tensor,  # [batch, height, width, channels]
    weight_ptr: tl.tensor,  # [KERNEL * KERNEL, channels]
    bias_ptr: tl.tensor,  # [channels]; not read unless HAS_BIAS
    y_ptr: tl.tensor,  # [batch, height_out, width_out, channels]
    pre_ptr: tl.tensor,  # like y: the sums before the activation; not written unless SAVE_PRE
    x_batch_stride: tl.tensor,  # elements from one image to the next
    y_batch_stride: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    height_out: tl.tensor,
    width_out: tl.tensor,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    ACTIVATION: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SAVE_PRE: tl.constexpr,
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
    y_offset = ((row * width_out + column) * channels)[:, None] + channel[None, :]
    x_ptr += image * x_batch_stride
    y_ptr += image * y_batch_stride
    pre_ptr += image * y_batch_stride

    channel_mask = channel < channels
    y_mask = ((row < height_out) & (column < width_out))[:, None] & channel_mask[None, :]

    PADDING: tl.constexpr = DILATION * (KERNEL - 1) // 2
    total = tl.zeros((ROWS * COLUMNS, CHANNELS), tl.float32)
    for tap_row in range(KERNEL):
        x_row = row * STRIDE + (tap_row * DILATION - PADDING)
        row_offset = (x_row * width * channels)[:, None] + channel[None, :]
        row_mask = ((x_row >= 0) & (x_row < height))[:, None] & channel_mask[None, :]
        for tap_column in tl.range(0, KERNEL, loop_unroll_factor=UNROLL):
            x_column = column * STRIDE + (tap_column * DILATION - PADDING)
            x_offset = row_offset + (x_column * channels)[:, None]
            x_mask = row_mask & ((x_column >= 0) & (x_column < width))[:, None]
            tap_offset = (tap_row * KERNEL + tap_column) * channels + channel
            x = tl.load(x_ptr + x_offset, mask=x_mask, other=0.0).to(tl.float32)
            tap = tl.load(weight_ptr + tap_offset, mask=channel_mask, other=0.0).to(tl.float32)
            total += x * tap[None, :]
    if HAS_BIAS:
        bias = tl.load(bias_ptr + channel, mask=channel_mask, other=0.0).to(tl.float32)
        total += bias[None, :]

    if SAVE_PRE:
        tl.store(pre_ptr + y_offset, total.to(pre_ptr.dtype.element_ty), mask=y_mask)
    y = activate(total, ACTIVATION)
    tl.store(y_ptr + y_offset, y.to(y_ptr.dtype.element_ty), mask=y_mask)


@triton.jit  # type: ignore[untyped-decorator]
def depthwise_input_grad_kernel(
    grad_ptr: tl.tensor,  # [batch, height_out, width_out, channels], before the activation
    weight_ptr: tl.tensor,  # [KERNEL * KERNEL, channels]
    x_grad_ptr: tl.tensor,  # [batch, height, width, channels]
    grad_batch_stride: tl.tensor,  # elements from one image to the next
    x_batch_stride: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    height_out: tl.tensor,
    width_out: tl.tensor,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
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
    x_offset = ((row * width + column) * channels)[:, None] + channel[None, :]
    grad_ptr += image * grad_batch_stride
    x_grad_ptr += image * x_batch_stride

    channel_mask = channel < channels
    x_mask = ((row < height) & (column < width))[:, None] & channel_mask[None, :]

    PADDING: tl.constexpr = DILATION * (KERNEL - 1) // 2
    total = tl.zeros((ROWS * COLUMNS, CHANNELS), tl.float32)
    for tap_row in range(KERNEL):
        # Output row r meets this pixel at this tap when r * STRIDE = row + PADDING - tap row.
        scaled_row = row + (PADDING - tap_row * DILATION)
        y_row = scaled_row // STRIDE
        row_offset = (y_row * width_out * channels)[:, None] + channel[None, :]
        row_met = (scaled_row >= 0) & (scaled_row % STRIDE == 0) & (y_row < height_out)
        row_mask = row_met[:, None] & channel_mask[None, :]
        for tap_column in tl.range(0, KERNEL, loop_unroll_factor=UNROLL):
            scaled_column = column + (PADDING - tap_column * DILATION)
            y_column = scaled_column // STRIDE
            offset = row_offset + (y_column * channels)[:, None]
            met = (scaled_column >= 0) & (scaled_column % STRIDE == 0) & (y_column < width_out)
            mask = row_mask & met[:, None]
            tap_offset = (tap_row * KERNEL + tap_column) * channels + channel
            grad = tl.load(grad_ptr + offset, mask=mask, other=0.0).to(tl.float32)
            tap = tl.load(weight_ptr + tap_offset, mask=channel_mask, other=0.0).to(tl.float32)
            total += grad * tap[None, :]

    tl.store(x_grad_ptr + x_offset, total.to(x_grad_ptr.dtype.element_ty), mask=x_mask)


@triton.jit  # type: ignore[untyped-decorator]
def depthwise_weight_grad_kernel(
    x_ptr: tl.tensor,  # [batch, height, width, channels]
    grad_ptr: tl.tensor,  # [batch, height_out, width_out, channels], before the activation
    partial_ptr: tl.tensor,  # [splits, KERNEL * KERNEL, channels], float32
    x_batch_stride: tl.tensor,  # elements from one image to the next
    grad_batch_stride: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    height_out: tl.tensor,
    width_out: tl.tensor,
    tiles: tl.tensor,  # runs of PIXELS outputs in the whole batch
    tiles_per_split: tl.tensor,
    KERNEL: tl.constexpr,
    TAPS: tl.constexpr,  # KERNEL rounded up to a power of two
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
    tap_row = (program // channel_blocks) % KERNEL
    split = program // channel_blocks // KERNEL
    tap_column = tl.arange(0, TAPS)
    tap = tap_row * KERNEL + tap_column
    partial_ptr += split.to(tl.int64) * KERNEL * KERNEL * channels

    channel_mask = channel < channels
    partial_mask = (tap_column < KERNEL)[:, None] & channel_mask[None, :]

    PADDING: tl.constexpr = DILATION * (KERNEL - 1) // 2
    total = tl.zeros((PIXELS, TAPS, CHANNELS), tl.float32)
    first = split * tiles_per_split
    for tile in range(first, tl.minimum(first + tiles_per_split, tiles)):
        image = (tile // tiles_per_image).to(tl.int64)
        pixel = (tile % tiles_per_image) * PIXELS + tl.arange(0, PIXELS)
        row = pixel // width_out
        x_row = row * STRIDE + tap_row * DILATION - PADDING
        x_column = (pixel % width_out * STRIDE)[:, None] + (tap_column * DILATION - PADDING)[None]
        x_offset = ((x_row * width)[:, None] + x_column) * channels
        x_offset = x_offset[:, :, None] + channel[None, None, :]
        grad_offset = (pixel * channels)[:, None] + channel[None, :]
        seen = (x_row >= 0) & (x_row < height) & (row < height_out)
        x_mask = seen[:, None] & (x_column >= 0) & (x_column < width)
        x_mask = (x_mask & (tap_column < KERNEL)[None])[:, :, None] & channel_mask[None, None, :]
        grad_mask = (row < height_out)[:, None] & channel_mask[None, :]
        x = tl.load(x_ptr + image * x_batch_stride + x_offset, mask=x_mask, other=0.0)
        grad = tl.load(
            grad_ptr + image * grad_batch_stride + grad_offset, mask=grad_mask, other=0.0
        )
        total += x.to(tl.float32) * grad.to(tl.float32)[:, None, :]

    partial_offset = (tap * channels)[:, None] + channel[None, :]
    tl.store(partial_ptr + partial_offset, tl.sum(total, axis=0), mask=partial_mask)


def depthwise_conv2d_triton(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int, dilation: int, activation: str
) -> Tensor:
    """Run `depthwise_conv2d` on the Triton kernels; the arguments are its own, already checked.

    `gelu` and `silu` keep the sums before the activation for the backward pass, rounded to the
    dtype of `x`, as torch's own functions do.
    """
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        apply: Callable[..., Tensor] = _DepthwiseConv.apply
        return apply(x, weight, bias, stride, dilation, activation)
    return _forward(x, weight, bias, stride, dilation, activation, save_pre=False)[0]


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        dilation: int,
        activation: str,
    ) -> Tensor:
        save_pre = activation in ("gelu", "silu")
        y, pre = _forward(x, weight, bias, stride, dilation, activation, save_pre=save_pre)
        ctx.save_for_backward(x, weight, None if activation == "none" else pre)
        ctx.settings = (stride, dilation, activation)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, pre = ctx.saved_tensors
        stride, dilation, activation = ctx.settings
        if pre is not None:
            grad = ACTIVATION_GRADS[activation](grad, pre)
        grad = grad.contiguous(memory_format=torch.channels_last)
        x_grad = weight_grad = bias_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = _input_grad(grad, weight, x, stride, dilation)
        if ctx.needs_input_grad[1]:
            weight_grad = _weight_grad(x, grad, weight, stride, dilation)
        if ctx.needs_input_grad[2]:
            bias_grad = grad.sum((0, 2, 3), dtype=torch.float32).to(grad.dtype)
        return x_grad, weight_grad, bias_grad, None, None, None


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    dilation: int,
    activation: str,
    *,
    save_pre: bool,
) -> tuple[Tensor, Tensor]:
    """Return the output and the sums before the activation (the output unless `save_pre`)."""
    x = x.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    height_out, width_out = (height - 1) // stride + 1, (width - 1) // stride + 1
    shape = (batch, channels, height_out, width_out)
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    pre = torch.empty_like(y) if save_pre else y
    kernel = weight.shape[-1]
    blocks = blocks_for("gather", capability(x), kernel, width_out)
    _launch(
        depthwise_forward_kernel,
        batch * _programs(blocks, height_out, width_out, channels),
        blocks,
        (x, _pack(weight), y if bias is None else bias.contiguous(), y, pre),
        (x[0].numel(), y[0].numel(), height, width, channels, height_out, width_out),
        gather_constants(kernel, stride, dilation, blocks)
        | fused_constants(activation, has_bias=bias is not None, save_pre=save_pre),
    )
    return y, pre


def _input_grad(grad: Tensor, weight: Tensor, x: Tensor, stride: int, dilation: int) -> Tensor:
    """Return the gradient of `x`, channels-last; `grad` is that before the activation."""
    _, channels, height, width = x.shape
    x_grad = torch.empty_like(x, memory_format=torch.channels_last)
    kernel = weight.shape[-1]
    blocks = blocks_for("gather", capability(x), kernel, width)
    _launch(
        depthwise_input_grad_kernel,
        x.shape[0] * _programs(blocks, height, width, channels),
        blocks,
        (grad, _pack(weight), x_grad),
        (grad[0].numel(), x[0].numel(), height, width, channels, *grad.shape[2:]),
        gather_constants(kernel, stride, dilation, blocks),
    )
    return x_grad


def _weight_grad(x: Tensor, grad: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """Return the gradient of `weight`; `grad` is that before the activation, channels-last."""
    x = x.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = x.shape
    kernel = weight.shape[-1]
    blocks = blocks_for("weight_grad", capability(x), kernel, grad.shape[3])
    rows = kernel * triton.cdiv(channels, blocks.channels)
    tiles = x.shape[0] * triton.cdiv(grad.shape[2] * grad.shape[3], blocks.columns)
    per_split = triton.cdiv(tiles, triton.cdiv(_WEIGHT_GRAD_PROGRAMS, rows))
    splits = triton.cdiv(tiles, per_split)
    partial = x.new_empty((splits, kernel * kernel, channels), dtype=torch.float32)
    sizes = (x[0].numel(), grad[0].numel(), height, width, channels, *grad.shape[2:])
    _launch(
        depthwise_weight_grad_kernel,
        splits * rows,
        blocks,
        (x, grad, partial),
        (*sizes, tiles, per_split),
        weight_grad_constants(kernel, stride, dilation, blocks),
    )
    return partial.sum(0).t().reshape(weight.shape).to(weight.dtype)


def _launch(
    kernel: Any,
    programs: int,
    blocks: Blocks,
    tensors: tuple[Tensor, ...],
    sizes: tuple[int, ...],
    constants: Constants,
) -> None:
    # Fused multiply-add is asked for by name because its default changes between versions.
    with torch.cuda.device(tensors[0].get_device()):
        kernel[(programs,)](
            *tensors, *sizes, **constants, num_warps=blocks.warps, enable_fp_fusion=True
        )


def _programs(blocks: Blocks, height: int, width: int, channels: int) -> int:
    """Count the tiles of one image."""
    tiles = -(-height // blocks.rows) * -(-width // blocks.columns)
    return tiles * -(-channels // blocks.channels)


def _pack(weight: Tensor) -> Tensor:
    """Lay `[C, 1, K, K]` out as `[K * K, C]`, so that a block of channels is one line."""
    return weight.reshape(weight.shape[0], -1).t().contiguous()
