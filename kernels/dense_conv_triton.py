"""Triton kernel of the dense convolution, as a matrix product that gathers its left side.

Everything is channels-last, so what one output sees of one row of its window is one run of memory:
K pixels of C channels. The inner dimension is cut along these runs ("window order", the idea of
Im2win, arXiv 2306.14316), so a few channels still fill a step, and nothing is copied out. Offsets
inside an image are 32-bit; what selects the image is 64-bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.activation_triton import ACTIVATION_GRADS, INTERPRETED, capability, keeps_sums
from kernels.dense_conv import output_shape
from kernels.dense_conv_blocks import conv_constants, conv_plan
from kernels.epilogue_triton import Epilogue, finish, split_sum
from kernels.gemm_triton import eights, tile_of
from kernels.launch_triton import launch


@triton.jit  # type: ignore[untyped-decorator]
def dense_conv_kernel(
    x_ptr: tl.tensor,  # [batch, height, width, channels]
    weight_ptr: tl.tensor,  # [columns, KERNEL, KERNEL, channels]
    partial_ptr: tl.tensor,  # [splits, rows, columns], float32 or int32; None unless split
    row_scale_ptr: tl.tensor,  # this and the next eight as in finish
    column_scale_ptr: tl.tensor,
    shift_ptr: tl.tensor,
    bias_ptr: tl.tensor,
    residual_ptr: tl.tensor,
    y_inverse: tl.tensor,
    y_zero: tl.tensor,
    y_ptr: tl.tensor,
    pre_ptr: tl.tensor,
    padding_value: tl.tensor,  # what lies outside an image; None: 0
    x_batch_stride: tl.tensor,  # elements from one image to the next
    rows: tl.tensor,  # batch * height_out * width_out
    columns: tl.tensor,  # output channels
    height: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    height_out: tl.tensor,
    width_out: tl.tensor,
    split_steps: tl.tensor,  # steps of one split
    EACH_ROW: tl.constexpr,
    ACTIVATION: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    WHOLE_TAPS: tl.constexpr,  # channels is a multiple of INNER
    EIGHTS: tl.constexpr,  # channels and columns are multiples of 8
    UPCAST: tl.constexpr,  # the interpreter computes bfloat16 products wrongly
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    GROUP: tl.constexpr,
) -> None:
    """Write ROWS output pixels by COLUMNS channels, or their part over one split of the window."""
    if EIGHTS:
        columns = eights(columns)
        channels = eights(channels)
        x_batch_stride = eights(x_batch_stride)
    row_tiles = tl.cdiv(rows, ROWS)
    column_tiles = tl.cdiv(columns, COLUMNS)
    split = tl.program_id(0) // (row_tiles * column_tiles)
    program = tl.program_id(0) % (row_tiles * column_tiles)
    row_tile, column_tile = tile_of(program, row_tiles, column_tiles, GROUP)
    row = row_tile * ROWS + tl.arange(0, ROWS)
    column = column_tile * COLUMNS + tl.arange(0, COLUMNS)
    pixel = row % (height_out * width_out)
    image = (row // (height_out * width_out)).to(tl.int64)
    x_row = pixel // width_out * STRIDE - PADDING
    x_column = pixel % width_out * STRIDE - PADDING
    x_ptrs = x_ptr + (image * x_batch_stride + (x_row * width + x_column) * channels)[:, None]
    run = KERNEL * channels
    weight_ptrs = weight_ptr + (column.to(tl.int64) * (KERNEL * run))[None, :]

    row_mask = row < rows
    column_mask = (column < columns)[None, :]

    if x_ptr.dtype.element_ty == tl.int8:
        total = tl.zeros((ROWS, COLUMNS), tl.int32)
    else:
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
    run_steps = tl.cdiv(run, INNER)
    first = split * split_steps
    for step in range(first, tl.minimum(first + split_steps, KERNEL * run_steps)):
        tap_row = step // run_steps
        start = step % run_steps * INNER
        place = start + tl.arange(0, INNER)
        seen_row = x_row + tap_row * DILATION
        row_met = (row_mask & (seen_row >= 0) & (seen_row < height))[:, None]
        row_offset = tap_row * DILATION * width * channels
        if WHOLE_TAPS:
            tap_offset = start // channels * DILATION
            seen = x_column + tap_offset
            x_mask = row_met & ((seen >= 0) & (seen < width))[:, None]
            offset = row_offset + tap_offset * channels + start % channels + tl.arange(0, INNER)
            weight_mask = column_mask
        else:
            if DILATION == 1:
                offset = row_offset + place
                seen = (x_column * channels)[:, None] + place[None, :]
                met = (seen >= 0) & (seen < width * channels)
            else:
                tap_offset = place // channels * DILATION
                offset = row_offset + tap_offset * channels + place % channels
                seen = x_column[:, None] + tap_offset[None, :]
                met = (seen >= 0) & (seen < width)
            x_mask = row_met & met & (place < run)[None, :]
            weight_mask = column_mask & (place < run)[:, None]
        if padding_value is None:
            x = tl.load(x_ptrs + offset[None, :], mask=x_mask, other=0)
        else:
            x = tl.load(x_ptrs + offset[None, :], mask=x_mask, other=padding_value)
        weight = tl.load(weight_ptrs + (tap_row * run + place)[:, None], mask=weight_mask, other=0)
        if UPCAST:
            x = x.to(tl.float32)
            weight = weight.to(tl.float32)
        if total.dtype == tl.int32:
            total = tl.dot(x, weight, total, out_dtype=tl.int32)
        else:
            total = tl.dot(x, weight, total, input_precision="ieee")

    mask = row_mask[:, None] & column_mask
    if partial_ptr is not None:
        y_place = (split.to(tl.int64) * rows + row[:, None]) * columns + column[None, :]
        tl.store(partial_ptr + y_place, total, mask=mask)
    else:
        finish(
            total,
            row[:, None],
            column[None, :],
            mask,
            rows,
            columns,
            row_scale_ptr,
            column_scale_ptr,
            shift_ptr,
            bias_ptr,
            residual_ptr,
            y_inverse,
            y_zero,
            y_ptr,
            pre_ptr,
            EACH_ROW,
            ACTIVATION,
        )


def convolve(
    x: Tensor,
    weight: Tensor,
    y: Tensor,
    epilogue: Epilogue,
    *,
    stride: int,
    padding: int,
    dilation: int,
    padding_value: int | None = None,
    pre: Tensor | None = None,
) -> Tensor:
    """Write a convolution, finished by an epilogue, and return it.

    Args:
        x: `[B, C, H, W]`, channels-last; float32, float16, bfloat16 or int8.
        weight: `[N, C, K, K]`, channels-last, like `x`.
        y: `[B, N, H', W']`, channels-last: the output.
        epilogue: What happens to the sums; its residual is channels-last.
        stride: Step between outputs, in pixels.
        padding: Pixels on every side.
        dilation: Step between kernel taps, in pixels.
        padding_value: What the padding holds; None: 0.
        pre: Like `y`, where the sums before the activation go; None keeps none.
    """
    _, channels, height, width = x.shape
    batch, columns, height_out, width_out = y.shape
    rows, kernel = batch * height_out * width_out, weight.shape[-1]
    plan = conv_plan(capability(x), x.element_size(), rows, columns, channels, kernel)
    partial = None
    if plan.splits > 1:
        sums = torch.int32 if x.dtype == torch.int8 else torch.float32
        partial = torch.empty((plan.splits, rows, columns), dtype=sums, device=y.device)
    # The parts of a split sum are finished by the kernel that adds them up.
    first = epilogue if partial is None else Epilogue()
    launch(
        dense_conv_kernel,
        plan.programs,
        (
            *(x, weight, partial, *first.arguments(y, pre if partial is None else None)),
            *(padding_value, x.stride(0), rows, columns),
            *(height, width, channels, height_out, width_out, plan.split_steps),
        ),
        {
            **first.constants(),
            **conv_constants(plan.blocks, channels, columns, kernel, (stride, padding, dilation)),
            "UPCAST": INTERPRETED and x.dtype == torch.bfloat16,
        },
        warps=plan.blocks.warps,
        stages=plan.blocks.stages,
    )
    if partial is not None:
        split_sum(partial, epilogue, y, pre)
    return y


def dense_conv2d_triton(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    *,
    stride: int,
    padding: int,
    dilation: int,
    activation: str,
) -> Tensor:
    """Run `dense_conv2d` on the Triton kernel; the arguments are its own, already checked.

    With an activation the sums before it are kept for the backward pass, rounded to the dtype of
    `x`; for relu without a residual the output will do.
    """
    tensors = [tensor for tensor in (x, weight, bias, residual) if tensor is not None]
    steps = (stride, padding, dilation)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        apply: Callable[..., Tensor] = _DenseConv.apply
        return apply(x, weight, bias, residual, steps, activation)
    return _forward(x, weight, bias, residual, steps, activation, save_pre=False)[0]


class _DenseConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        steps: tuple[int, int, int],
        activation: str,
    ) -> Tensor:
        save_pre = keeps_sums(activation, residual is not None)
        y, pre = _forward(x, weight, bias, residual, steps, activation, save_pre=save_pre)
        ctx.save_for_backward(x, weight, None if activation == "none" else pre)
        ctx.settings = (steps, activation)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, y_grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, pre = ctx.saved_tensors
        (stride, padding, dilation), activation = ctx.settings
        grad = y_grad if pre is None else ACTIVATION_GRADS[activation](y_grad, pre)
        grad = channels_last(grad)
        x_grad, weight_grad, _ = torch.ops.aten.convolution_backward(
            *(grad, channels_last(x), channels_last(weight), None),
            *([stride] * 2, [padding] * 2, [dilation] * 2, False, [0, 0], 1),
            [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False],
        )
        bias_grad = None
        if ctx.needs_input_grad[2]:
            bias_grad = grad.sum((0, 2, 3), dtype=torch.float32).to(grad.dtype)
        residual_grad = y_grad if ctx.needs_input_grad[3] else None
        return x_grad, weight_grad, bias_grad, residual_grad, None, None


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    steps: tuple[int, int, int],
    activation: str,
    *,
    save_pre: bool,
) -> tuple[Tensor, Tensor]:
    """Return the output and the sums before the activation (the output unless `save_pre`)."""
    stride, padding, dilation = steps
    y = empty_output(x, weight, stride, padding, dilation, x.dtype)
    pre = torch.empty_like(y) if save_pre else None
    epilogue = Epilogue(
        bias=None if bias is None else bias.contiguous(),
        activation=activation,
        residual=None if residual is None else channels_last(residual),
    )
    convolve(
        *(channels_last(x), channels_last(weight), y, epilogue),
        stride=stride,
        padding=padding,
        dilation=dilation,
        pre=pre,
    )
    return y, y if pre is None else pre


def empty_output(
    x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int, dtype: torch.dtype
) -> Tensor:
    """Return an unwritten output, channels-last."""
    shape = output_shape(x, weight, stride, padding, dilation)
    return torch.empty(shape, dtype=dtype, device=x.device, memory_format=torch.channels_last)


def channels_last(x: Tensor) -> Tensor:
    """Return the images with their channels last in memory."""
    return x.contiguous(memory_format=torch.channels_last)
