"""Triton kernels of layer norm and RMS norm: forward, and all gradients in one pass.

A program holds whole rows in registers, so the input is read once. Sums are float32. The gradients
of weight and bias are summed over splits of the rows and then over the splits: no atomics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.activation_triton import activate, capability
from kernels.backend import ACTIVATIONS
from kernels.launch_triton import launch
from kernels.norm_blocks import backward_constants, blocks_for, forward_constants

_SPLITS = 512  # Enough to fill any GPU; a constant, so that sums are the same on every one.


@triton.jit  # type: ignore[untyped-decorator]
def norm_forward_kernel(
    x_ptr: tl.tensor,  # [rows, columns]
    weight_ptr: tl.tensor,  # [columns]; not read unless HAS_WEIGHT
    bias_ptr: tl.tensor,  # [columns]; not read unless HAS_BIAS
    y_ptr: tl.tensor,  # [rows, columns]
    mean_ptr: tl.tensor,  # [rows], float32; not written unless SAVE and not RMS
    scale_ptr: tl.tensor,  # [rows], float32: 1 / deviation; not written unless SAVE
    rows: tl.tensor,
    columns: tl.tensor,
    eps: tl.tensor,  # float32
    RMS: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SAVE: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Write ROWS rows."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    offset = (row * columns)[:, None] + column[None, :]

    row_mask = row < rows
    column_mask = column < columns
    mask = row_mask[:, None] & column_mask[None, :]

    x = tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
    if RMS:
        centred = x
    else:
        mean = tl.sum(x, axis=1) / columns
        # The variance of centred values, not of squares: those cancel where the mean is large.
        centred = tl.where(column_mask[None, :], x - mean[:, None], 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=1) / columns + eps)
    y = centred * scale[:, None]
    if HAS_WEIGHT:
        weight = tl.load(weight_ptr + column, mask=column_mask, other=0.0).to(tl.float32)
        y *= weight[None, :]
    if HAS_BIAS:
        bias = tl.load(bias_ptr + column, mask=column_mask, other=0.0).to(tl.float32)
        y += bias[None, :]

    if SAVE:
        if not RMS:
            tl.store(mean_ptr + row, mean, mask=row_mask)
        tl.store(scale_ptr + row, scale, mask=row_mask)
    y = activate(y, ACTIVATION)
    tl.store(y_ptr + offset, y.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def norm_backward_kernel(
    grad_ptr: tl.tensor,  # [rows, columns]
    x_ptr: tl.tensor,  # [rows, columns]
    weight_ptr: tl.tensor,  # [columns]; not read unless HAS_WEIGHT
    mean_ptr: tl.tensor,  # [rows], float32; not read if RMS
    scale_ptr: tl.tensor,  # [rows], float32
    x_grad_ptr: tl.tensor,  # [rows, columns]
    weight_partial_ptr: tl.tensor,  # [splits, columns], float32; written if WEIGHT_GRAD
    bias_partial_ptr: tl.tensor,  # [splits, columns], float32; written if BIAS_GRAD
    rows: tl.tensor,
    columns: tl.tensor,
    runs_per_split: tl.tensor,  # runs of ROWS rows
    RMS: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    WEIGHT_GRAD: tl.constexpr,
    BIAS_GRAD: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Write the input's gradient of one split of the rows, and its sums for weight and bias.

    With n the normalised row, g = grad * weight and E the mean over the row, the input's gradient
    is scale * (g - n E[g n] - E[g]); RMS norm lacks the last term.
    """
    split = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, COLUMNS)
    column_mask = column < columns
    if HAS_WEIGHT:
        weight = tl.load(weight_ptr + column, mask=column_mask, other=0.0).to(tl.float32)

    weight_total = tl.zeros((ROWS, COLUMNS), tl.float32)
    bias_total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for run in range(0, runs_per_split):
        row = (split * runs_per_split + run) * ROWS + tl.arange(0, ROWS)
        offset = (row * columns)[:, None] + column[None, :]
        row_mask = row < rows
        mask = row_mask[:, None] & column_mask[None, :]
        grad = tl.load(grad_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        x = tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        scale = tl.load(scale_ptr + row, mask=row_mask, other=0.0)
        if RMS:
            normal = x * scale[:, None]
        else:
            mean = tl.load(mean_ptr + row, mask=row_mask, other=0.0)
            # Masked columns need not be 0 here: their gradient is.
            normal = (x - mean[:, None]) * scale[:, None]
        if WEIGHT_GRAD:
            weight_total += grad * normal
        if BIAS_GRAD:
            bias_total += grad
        if HAS_WEIGHT:
            grad *= weight[None, :]
        x_grad = grad - normal * (tl.sum(grad * normal, axis=1) / columns)[:, None]
        if not RMS:
            x_grad -= (tl.sum(grad, axis=1) / columns)[:, None]
        x_grad *= scale[:, None]
        tl.store(x_grad_ptr + offset, x_grad.to(x_grad_ptr.dtype.element_ty), mask=mask)

    partial_offset = split * columns + column
    if WEIGHT_GRAD:
        weight_sum = tl.sum(weight_total, axis=0)
        tl.store(weight_partial_ptr + partial_offset, weight_sum, mask=column_mask)
    if BIAS_GRAD:
        bias_sum = tl.sum(bias_total, axis=0)
        tl.store(bias_partial_ptr + partial_offset, bias_sum, mask=column_mask)


def norm_triton(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    eps: float,
    rms: bool,
    activation: str,
) -> Tensor:
    """Normalise the last dimension of `x`; the arguments are checked.

    Where gradients are wanted the activation is torch's, which keeps what it needs.
    """
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        apply: Callable[..., Tensor] = _Norm.apply
        return ACTIVATIONS[activation](apply(x, weight, bias, eps, rms))
    return _forward(x.contiguous(), weight, bias, eps, rms, activation, save=False)[0]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, rms: bool
    ) -> Tensor:
        x = x.contiguous()
        y, mean, scale = _forward(x, weight, bias, eps, rms, "none", save=True)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.rms = rms
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        x_grad, weight_grad, bias_grad = _backward(
            grad.contiguous(), x, weight, mean, scale, ctx.rms, *ctx.needs_input_grad[1:3]
        )
        return x_grad, weight_grad, bias_grad, None, None


def _forward(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    rms: bool,
    activation: str,
    *,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output, and mean and scale of every row (the output twice unless `save`)."""
    columns = x.shape[-1]
    rows = x.numel() // columns
    y = torch.empty_like(x)
    mean = scale = y
    if save:
        mean, scale = x.new_empty((2, rows), dtype=torch.float32)
    blocks = blocks_for("forward", capability(x), columns)
    vectors = (y if tensor is None else tensor.contiguous() for tensor in (weight, bias))
    launch(
        norm_forward_kernel,
        triton.cdiv(rows, blocks.rows),
        (x, *vectors, y, mean, scale, rows, columns, eps),
        forward_constants(
            rms=rms,
            has_weight=weight is not None,
            has_bias=bias is not None,
            save=save,
            activation=activation,
            blocks=blocks,
        ),
        warps=blocks.warps,
    )
    return y, mean, scale


def _backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    scale: Tensor,
    rms: bool,
    weight_grad: bool,
    bias_grad: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of input, weight and bias, those that are wanted."""
    columns = x.shape[-1]
    rows = x.numel() // columns
    blocks = blocks_for("backward", capability(x), columns)
    runs = triton.cdiv(rows, blocks.rows)
    per_split = triton.cdiv(runs, _SPLITS)
    splits = triton.cdiv(runs, per_split)
    x_grad = torch.empty_like(x)
    partial = x.new_empty((2, splits, columns), dtype=torch.float32)
    launch(
        norm_backward_kernel,
        splits,
        (
            *(grad, x, x if weight is None else weight.contiguous(), mean, scale, x_grad),
            *(partial[0], partial[1], rows, columns, per_split),
        ),
        backward_constants(
            rms=rms,
            has_weight=weight is not None,
            weight_grad=weight_grad,
            bias_grad=bias_grad,
            blocks=blocks,
        ),
        warps=blocks.warps,
    )
    return (
        x_grad,
        partial[0].sum(0).to(x.dtype) if weight_grad else None,
        partial[1].sum(0).to(x.dtype) if bias_grad else None,
    )
