"""Triton kernel of the matrix product, its launch and its gradients.

One kernel for the product and both of its gradients: they differ in which dimension of an operand
is the last in memory. Tiles are visited in groups of rows, so that neighbouring programs find each
other's operands in the L2 cache. Where the tiles would not fill the device the inner dimension is
split; the parts are then added up by a second kernel, in order.
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
from kernels.epilogue_triton import Epilogue, finish, split_sum
from kernels.gemm_blocks import gemm_constants, plan_for
from kernels.launch_triton import launch


@triton.jit  # type: ignore[untyped-decorator]
def tile_of(
    program: tl.tensor, row_tiles: tl.tensor, column_tiles: tl.tensor, GROUP: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Number tiles down GROUP rows of tiles, then along the columns, then the next group."""
    group = program // (GROUP * column_tiles)
    first = group * GROUP
    height = tl.minimum(row_tiles - first, GROUP)
    within = program % (GROUP * column_tiles)
    return first + within % height, within // height


@triton.jit  # type: ignore[untyped-decorator]
def eights(size: tl.tensor) -> tl.tensor:
    """Let the compiler see a multiple of 8, of itself it looks for multiples of 16 only."""
    return size // 8 * 8


@triton.jit  # type: ignore[untyped-decorator]
def gemm_kernel(
    a_ptr: tl.tensor,  # [rows, inner], or [inner, rows] unless A_INNER_LAST; uint8 if FLOAT8
    b_ptr: tl.tensor,  # [columns, inner], or [inner, columns] unless B_INNER_LAST; uint8 if FLOAT8
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
    rows: tl.tensor,
    columns: tl.tensor,
    inner: tl.tensor,
    a_stride: tl.tensor,  # elements from one line of memory to the next
    b_stride: tl.tensor,
    split_inner: tl.tensor,  # inner elements of one split, a multiple of INNER; inner if one
    EACH_ROW: tl.constexpr,
    ACTIVATION: tl.constexpr,
    A_INNER_LAST: tl.constexpr,
    B_INNER_LAST: tl.constexpr,
    FLOAT8: tl.constexpr,
    UPCAST: tl.constexpr,  # the interpreter computes bfloat16 products wrongly
    EVEN: tl.constexpr,  # inner is a multiple of INNER
    EIGHTS: tl.constexpr,  # columns, strides and what else neighbours in memory are multiples of 8
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    GROUP: tl.constexpr,
) -> None:
    """Write one tile of ROWS x COLUMNS products, or its part over one split of the inner sum."""
    if EIGHTS:
        columns = eights(columns)
        a_stride = eights(a_stride)
        b_stride = eights(b_stride)
        if A_INNER_LAST or B_INNER_LAST:
            inner = eights(inner)
        if not A_INNER_LAST:
            rows = eights(rows)
    row_tiles = tl.cdiv(rows, ROWS)
    column_tiles = tl.cdiv(columns, COLUMNS)
    split = tl.program_id(0) // (row_tiles * column_tiles)
    program = tl.program_id(0) % (row_tiles * column_tiles)
    row_tile, column_tile = tile_of(program, row_tiles, column_tiles, GROUP)
    row = row_tile * ROWS + tl.arange(0, ROWS)
    column = column_tile * COLUMNS + tl.arange(0, COLUMNS)
    first = split * split_inner
    step = first + tl.arange(0, INNER)
    if A_INNER_LAST:
        a_ptrs = a_ptr + (row.to(tl.int64) * a_stride)[:, None] + step[None, :]
        a_step = INNER
    else:
        a_ptrs = a_ptr + (step.to(tl.int64) * a_stride)[None, :] + row[:, None]
        a_step = tl.cast(a_stride, tl.int64) * INNER
    if B_INNER_LAST:
        b_ptrs = b_ptr + (column.to(tl.int64) * b_stride)[None, :] + step[:, None]
        b_step = INNER
    else:
        b_ptrs = b_ptr + (step.to(tl.int64) * b_stride)[:, None] + column[None, :]
        b_step = tl.cast(b_stride, tl.int64) * INNER

    row_mask = (row < rows)[:, None]
    column_mask = (column < columns)[None, :]

    if a_ptr.dtype.element_ty == tl.int8:
        total = tl.zeros((ROWS, COLUMNS), tl.int32)
    else:
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(first, tl.minimum(first + split_inner, inner), INNER):
        if EVEN:
            a = tl.load(a_ptrs, mask=row_mask, other=0)
            b = tl.load(b_ptrs, mask=column_mask, other=0)
        else:
            # Both sides: a stray NaN times zero would not be zero.
            left = tl.arange(0, INNER) < inner - start
            a = tl.load(a_ptrs, mask=row_mask & left[None, :], other=0)
            b = tl.load(b_ptrs, mask=column_mask & left[:, None], other=0)
        if FLOAT8:
            a = a.to(tl.float8e4nv, bitcast=True)
            b = b.to(tl.float8e4nv, bitcast=True)
        if UPCAST:
            a = a.to(tl.float32)
            b = b.to(tl.float32)
        if total.dtype == tl.int32:
            total = tl.dot(a, b, total, out_dtype=tl.int32)
        elif FLOAT8 and not UPCAST:
            # Tensor cores add 8-bit floats with few bits: float32 takes over after every block.
            total = tl.dot(a, b, total, max_num_imprecise_acc=INNER)
        else:
            total = tl.dot(a, b, total, input_precision="ieee")
        a_ptrs += a_step
        b_ptrs += b_step

    mask = row_mask & column_mask
    if partial_ptr is not None:
        place = (split.to(tl.int64) * rows + row[:, None]) * columns + column[None, :]
        tl.store(partial_ptr + place, total, mask=mask)
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


def multiply(
    a: Tensor,
    b: Tensor,
    y: Tensor,
    epilogue: Epilogue,
    *,
    a_inner_last: bool = True,
    b_inner_last: bool = True,
    pre: Tensor | None = None,
) -> Tensor:
    """Write the product of two matrices, finished by an epilogue, and return it.

    Args:
        a: `[rows, inner]`, or `[inner, rows]` unless `a_inner_last`; its last stride is 1. float32,
            float16, bfloat16, int8, or float8_e4m3fn as uint8.
        b: `[columns, inner]`, or `[inner, columns]` unless `b_inner_last`; likewise.
        y: `[rows, columns]`, contiguous: the output.
        epilogue: What happens to the sums.
        a_inner_last: Whether neighbours in the inner dimension are neighbours in memory.
        b_inner_last: Likewise; int8 and float8 products want both.
        pre: Like `y`, where the sums before the activation go; None keeps none.
    """
    rows, columns = y.shape
    inner = a.shape[1] if a_inner_last else a.shape[0]
    plan = plan_for(capability(a), a.element_size(), rows, columns, inner)
    partial = None
    if plan.splits > 1:
        sums = torch.int32 if a.dtype == torch.int8 else torch.float32
        partial = torch.empty((plan.splits, rows, columns), dtype=sums, device=y.device)
    # The parts of a split sum are finished by the kernel that adds them up.
    first = epilogue if partial is None else Epilogue()
    launch(
        gemm_kernel,
        plan.programs,
        (
            *(a, b, partial, *first.arguments(y, pre if partial is None else None)),
            *(rows, columns, inner, a.stride(0), b.stride(0), plan.split_inner),
        ),
        {
            **first.constants(),
            **gemm_constants(
                plan.blocks,
                (rows, columns, inner),
                (a.stride(0), b.stride(0)),
                a_inner_last=a_inner_last,
                b_inner_last=b_inner_last,
            ),
            "FLOAT8": a.dtype == torch.uint8,
            "UPCAST": INTERPRETED and a.dtype in (torch.bfloat16, torch.uint8),
        },
        warps=plan.blocks.warps,
        stages=plan.blocks.stages,
    )
    if partial is not None:
        split_sum(partial, epilogue, y, pre)
    return y


def gemm_triton(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, *, activation: str
) -> Tensor:
    """Run `gemm` on the Triton kernels; the arguments are its own, already checked.

    With an activation the sums before it are kept for the backward pass, rounded to the dtype of
    `x`, as torch's own functions do; for relu without a residual the output will do.
    """
    shape = (*x.shape[:-1], weight.shape[0])
    flat = x.reshape(-1, x.shape[-1])
    residual = None if residual is None else residual.reshape(-1, weight.shape[0])
    tensors = [tensor for tensor in (x, weight, bias, residual) if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        apply: Callable[..., Tensor] = _Gemm.apply
        return apply(flat, weight, bias, residual, activation).reshape(shape)
    return _forward(flat, weight, bias, residual, activation, save_pre=False)[0].reshape(shape)


class _Gemm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        activation: str,
    ) -> Tensor:
        save_pre = keeps_sums(activation, residual is not None)
        y, pre = _forward(x, weight, bias, residual, activation, save_pre=save_pre)
        ctx.save_for_backward(x, weight, None if activation == "none" else pre)
        ctx.activation = activation
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, y_grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, pre = ctx.saved_tensors
        grad = y_grad if pre is None else ACTIVATION_GRADS[ctx.activation](y_grad, pre)
        grad = lines(grad)
        x_grad = weight_grad = bias_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = multiply(
                grad, lines(weight), x.new_empty(x.shape), Epilogue(), b_inner_last=False
            )
        if ctx.needs_input_grad[1]:
            weight_grad = multiply(
                *(grad, lines(x), weight.new_empty(weight.shape), Epilogue()),
                a_inner_last=False,
                b_inner_last=False,
            )
        if ctx.needs_input_grad[2]:
            bias_grad = grad.sum(0, dtype=torch.float32).to(grad.dtype)
        return x_grad, weight_grad, bias_grad, y_grad if ctx.needs_input_grad[3] else None, None


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    activation: str,
    *,
    save_pre: bool,
) -> tuple[Tensor, Tensor]:
    """Return the output and the sums before the activation (the output unless `save_pre`)."""
    y = x.new_empty((x.shape[0], weight.shape[0]))
    pre = torch.empty_like(y) if save_pre else None
    epilogue = Epilogue(
        bias=None if bias is None else bias.contiguous(),
        activation=activation,
        residual=None if residual is None else residual.contiguous(),
    )
    multiply(lines(x), lines(weight), y, epilogue, pre=pre)
    return y, y if pre is None else pre


def lines(matrix: Tensor) -> Tensor:
    """Return the matrix with neighbouring columns in neighbouring memory; lines may lie apart."""
    return matrix if matrix.stride(1) == 1 else matrix.contiguous()
