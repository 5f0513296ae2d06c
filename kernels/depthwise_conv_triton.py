"""Launches and autograd of the depthwise convolution's Triton kernels.

The output has the layout of the input: channels-first if that is contiguous so, else channels-last.
Large channels-first images, and those in neither layout, are copied to channels-last, and the
result back. The block sizes come from one table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.activation_triton import ACTIVATION_GRADS, INTERPRETED, capability, keeps_sums
from kernels.depthwise_conv_blocks import (
    FEW_PROGRAMS,
    gather_constants,
    tiling_for,
    weight_grad_constants,
)
from kernels.depthwise_forward_triton import depthwise_forward_kernel
from kernels.depthwise_grad_triton import (
    depthwise_input_grad_kernel,
    depthwise_weight_grad_kernel,
)
from kernels.launch_triton import launch

_WEIGHT_GRAD_PROGRAMS = 1024  # Enough to fill any GPU; a constant, so that sums are reproducible.
# The interpreter pays by the program, and has no multiprocessors to fill.
_FEW = 0 if INTERPRETED else FEW_PROGRAMS


def depthwise_conv2d_triton(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    *,
    stride: int,
    dilation: int,
    activation: str,
) -> Tensor:
    """Run `depthwise_conv2d` on the Triton kernels; the arguments are its own, already checked.

    Where the gradient of the activation needs them, the sums before it are kept for the backward
    pass, rounded to the dtype of `x`, as torch's own functions do.
    """
    inputs = [tensor for tensor in (x, weight, bias, residual) if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        apply: Callable[..., Tensor] = _DepthwiseConv.apply
        return apply(x, weight, bias, residual, stride, dilation, activation)
    return _forward(x, weight, bias, residual, stride, dilation, activation, save_pre=False)[0]


def _is_channels_last(x: Tensor) -> bool:
    """Whether `x` is channels-last, or in neither layout and will be."""
    return x.is_contiguous(memory_format=torch.channels_last) or not x.is_contiguous()


def _in_layout(x: Tensor, channels_last: bool) -> Tensor:
    """Return `x`, or a copy if it is not in the layout asked for."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return x.contiguous(memory_format=layout)


def _empty(shape: tuple[int, ...], like: Tensor, channels_last: bool) -> Tensor:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        stride: int,
        dilation: int,
        activation: str,
    ) -> Tensor:
        # Without a residual the output of relu has the sign of the sums before it.
        save_pre = keeps_sums(activation, residual is not None)
        y, pre = _forward(
            x, weight, bias, residual, stride, dilation, activation, save_pre=save_pre
        )
        ctx.save_for_backward(x, weight, None if activation == "none" else pre)
        ctx.settings = (stride, dilation, activation)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, pre = ctx.saved_tensors
        stride, dilation, activation = ctx.settings
        residual_grad = grad if ctx.needs_input_grad[3] else None
        if pre is not None:
            grad = ACTIVATION_GRADS[activation](grad, pre)
        x_grad = weight_grad = bias_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = _input_grad(grad, weight, x, stride, dilation)
        if ctx.needs_input_grad[1]:
            weight_grad = _weight_grad(x, grad, weight, stride, dilation)
        if ctx.needs_input_grad[2]:
            bias_grad = grad.sum((0, 2, 3), dtype=torch.float32).to(grad.dtype)
        return x_grad, weight_grad, bias_grad, residual_grad, None, None, None


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    dilation: int,
    activation: str,
    *,
    save_pre: bool,
) -> tuple[Tensor, Tensor]:
    """Return the output and the sums before the activation (the output unless `save_pre`)."""
    batch, channels, height, width = x.shape
    height_out, width_out = (height - 1) // stride + 1, (width - 1) // stride + 1
    shape = (batch, channels, height_out, width_out)
    taps = (weight.shape[2], weight.shape[3])
    last = _is_channels_last(x)
    tiling = tiling_for(capability(x), taps, shape, channels_last=last, few=_FEW)
    x = _in_layout(x, tiling.channels_last)
    y = _empty(shape, x, tiling.channels_last)
    pre = torch.empty_like(y) if save_pre else None
    launch(
        depthwise_forward_kernel,
        tiling.programs,
        (
            x,
            _pack(weight) if tiling.packed else weight.contiguous(),
            None if bias is None else bias.contiguous(),
            None if residual is None else _in_layout(residual, tiling.channels_last),
            y,
            pre,
            *(x[0].numel(), y[0].numel(), height, width, channels, height_out, width_out),
        ),
        gather_constants(taps, stride, dilation, tiling)
        | {"ACTIVATION": activation, "PACKED": tiling.packed},
        warps=tiling.blocks.warps,
    )
    y = _in_layout(y, last)
    return y, y if pre is None else pre


def _input_grad(grad: Tensor, weight: Tensor, x: Tensor, stride: int, dilation: int) -> Tensor:
    """Return the gradient of `x`, in its layout; `grad` is that before the activation."""
    batch, channels, height, width = x.shape
    shape = (batch, channels, height, width)
    taps = (weight.shape[2], weight.shape[3])
    last = _is_channels_last(x)
    tiling = tiling_for(capability(x), taps, shape, channels_last=last, few=_FEW)
    grad = _in_layout(grad, tiling.channels_last)
    x_grad = _empty(shape, x, tiling.channels_last)
    launch(
        depthwise_input_grad_kernel,
        tiling.programs,
        (
            *(grad, _pack(weight), x_grad),
            *(grad[0].numel(), x[0].numel(), height, width, channels, *grad.shape[2:]),
        ),
        gather_constants(taps, stride, dilation, tiling),
        warps=tiling.blocks.warps,
    )
    return _in_layout(x_grad, last)


def _weight_grad(x: Tensor, grad: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """Return the gradient of `weight`; `grad` is that before the activation."""
    x, grad = _in_layout(x, True), _in_layout(grad, True)
    _, channels, height, width = x.shape
    taps = (weight.shape[2], weight.shape[3])
    blocks, constants = weight_grad_constants(capability(x), taps, stride, dilation, grad.shape[3])
    rows = taps[0] * triton.cdiv(channels, blocks.channels)
    tiles = x.shape[0] * triton.cdiv(grad.shape[2] * grad.shape[3], blocks.columns)
    per_split = triton.cdiv(tiles, triton.cdiv(_WEIGHT_GRAD_PROGRAMS, rows))
    splits = triton.cdiv(tiles, per_split)
    partial = x.new_empty((splits, taps[0] * taps[1], channels), dtype=torch.float32)
    sizes = (x[0].numel(), grad[0].numel(), height, width, channels, *grad.shape[2:])
    launch(
        depthwise_weight_grad_kernel,
        splits * rows,
        (x, grad, partial, *sizes, tiles, per_split),
        constants,
        warps=blocks.warps,
    )
    return partial.sum(0).t().reshape(weight.shape).to(weight.dtype)


def _pack(weight: Tensor) -> Tensor:
    """Lay `[C, 1, R, K]` out as `[R * K, C]`, so that a block of channels is one line."""
    return weight.reshape(weight.shape[0], -1).t().contiguous()
