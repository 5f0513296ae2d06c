"""Triton kernel of the product with 4-bit weights, and its launch.

The problem is MARLIN's (arXiv 2408.11743): with few rows the product is bound by reading the
weights, so they stay packed until they are in registers. The product is computed transposed, the
weights on the left, where tensor cores take an operand from registers and where the side that must
fill 16 or 64 lines is never the few rows. The scale of a group multiplies sums, not weights: a
weight less its zero point is then an integer, exact in every dtype.
"""

from __future__ import annotations

from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.activation_triton import INTERPRETED, capability
from kernels.epilogue_triton import Epilogue, finish, split_sum
from kernels.gemm_triton import eights, lines
from kernels.launch_triton import launch
from kernels.recompute import with_plain_gradients
from kernels.w4_gemm import w4_gemm_plain
from kernels.w4_gemm_blocks import w4_constants, w4_plan


@triton.jit  # type: ignore[untyped-decorator]
def w4_gemm_kernel(
    x_ptr: tl.tensor,  # [rows, inner]
    packed_ptr: tl.tensor,  # [columns, 16 * ceil(inner / 128)], int32; see pack_w4
    scale_ptr: tl.tensor,  # [groups, columns]
    zero_ptr: tl.tensor,  # [groups, columns], uint8; None: 8
    partial_ptr: tl.tensor,  # [splits, rows, columns], float32; None unless split
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
    groups: tl.tensor,
    x_stride: tl.tensor,  # elements from one row to the next
    split_steps: tl.tensor,  # steps of 128 inner elements of one split
    EACH_ROW: tl.constexpr,
    ACTIVATION: tl.constexpr,
    GROUP: tl.constexpr,  # inner elements of a group: 32, 64 or 128; 0: all of them
    UPCAST: tl.constexpr,  # the interpreter computes bfloat16 products wrongly
    EVEN: tl.constexpr,  # inner is a multiple of 128
    EIGHTS: tl.constexpr,  # inner, columns and x_stride are multiples of 8
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Write one tile of ROWS x COLUMNS products, or its part over one split of the inner sum."""
    if EIGHTS:
        columns = eights(columns)
        inner = eights(inner)
        x_stride = eights(x_stride)
    row_tiles = tl.cdiv(rows, ROWS)
    column_tiles = tl.cdiv(columns, COLUMNS)
    program = tl.program_id(0)
    row = program % row_tiles * ROWS + tl.arange(0, ROWS)
    column = program // row_tiles % column_tiles * COLUMNS + tl.arange(0, COLUMNS)
    split = program // (row_tiles * column_tiles)
    steps = tl.cdiv(inner, 128)
    first = split * split_steps
    word = tl.arange(0, 16)
    packed_ptrs = packed_ptr + (column.to(tl.int64) * steps * 16)[:, None] + word[None, :]
    x_ptrs = x_ptr + (row.to(tl.int64) * x_stride)[None, :] + word[:, None]

    row_mask = (row < rows)[None, :]
    column_mask = column < columns

    DTYPE: tl.constexpr = x_ptr.dtype.element_ty
    # The bits of two halves of 1024 (of 128 in bfloat16), whose last bits count in ones: an "or"
    # puts two weights there at once.
    IS_HALF: tl.constexpr = DTYPE.is_fp16()
    BITS: tl.constexpr = 0x64006400 if IS_HALF else 0x43004300
    BASE: tl.constexpr = 1024.0 if IS_HALF else 128.0
    EXACT: tl.constexpr = tl.float32 if UPCAST else DTYPE
    total = tl.zeros((COLUMNS, ROWS), tl.float32)
    part = tl.zeros((COLUMNS, ROWS), tl.float32)
    base = tl.full((COLUMNS, 1), BASE + 8.0, EXACT)
    if GROUP == 0 and zero_ptr is not None:
        zero = tl.load(zero_ptr + column, mask=column_mask, other=0)
        base = (zero.to(tl.float32) + BASE).to(EXACT)[:, None]
    for step in range(first, tl.minimum(first + split_steps, steps)):
        packed = tl.load(packed_ptrs + step * 16, mask=column_mask[:, None], other=0)
        for quarter in tl.static_range(4):
            start = step * 128 + quarter * 32
            if GROUP > 0 and quarter * 32 % GROUP == 0:
                # Past the last group x is 0, and any group will do.
                group = tl.minimum(start // GROUP, groups - 1).to(tl.int64)
                place = group * columns + column
                scale = tl.load(scale_ptr + place, mask=column_mask, other=0.0).to(tl.float32)
                part = tl.zeros((COLUMNS, ROWS), tl.float32)
                if zero_ptr is not None:
                    zero = tl.load(zero_ptr + place, mask=column_mask, other=0)
                    base = (zero.to(tl.float32) + BASE).to(EXACT)[:, None]
            if EVEN:
                low_mask = row_mask
                high_mask = row_mask
            else:
                low_mask = row_mask & (word < inner - start)[:, None]
                high_mask = row_mask & (word < inner - start - 16)[:, None]
            x_low = tl.load(x_ptrs + start, mask=low_mask, other=0.0)
            x_high = tl.load(x_ptrs + (start + 16), mask=high_mask, other=0.0)
            both = ((packed >> (4 * quarter)) & 0x000F000F) | BITS
            low = both.to(tl.int16).to(DTYPE, bitcast=True)
            high = (both >> 16).to(tl.int16).to(DTYPE, bitcast=True)
            if UPCAST:
                low = low.to(tl.float32)
                high = high.to(tl.float32)
                x_low = x_low.to(tl.float32)
                x_high = x_high.to(tl.float32)
            low -= base
            high -= base
            part = tl.dot(low, x_low, part)
            part = tl.dot(high, x_high, part)
            if GROUP > 0 and (quarter + 1) * 32 % GROUP == 0:
                total += part * scale[:, None]
    if GROUP == 0:
        scale = tl.load(scale_ptr + column, mask=column_mask, other=0.0).to(tl.float32)
        total = part * scale[:, None]

    mask = column_mask[:, None] & row_mask
    if partial_ptr is not None:
        y_place = (split.to(tl.int64) * rows + row[None, :]) * columns + column[:, None]
        tl.store(partial_ptr + y_place, total, mask=mask)
    else:
        finish(
            total,
            row[None, :],
            column[:, None],
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


def w4_gemm_triton(
    x: Tensor,
    packed: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    *,
    activation: str,
) -> Tensor:
    """Run `w4_gemm` on the Triton kernel; the arguments are its own, already checked."""
    return with_plain_gradients(
        partial(_forward, activation=activation),
        partial(w4_gemm_plain, activation=activation),
        *(x, packed, scale, zero, bias, residual),
    )


def _forward(
    x: Tensor,
    packed: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    *,
    activation: str,
) -> Tensor:
    flat = lines(x.reshape(-1, x.shape[-1]))
    (rows, inner), columns, groups = flat.shape, packed.shape[0], scale.shape[0]
    y = x.new_empty((rows, columns))
    epilogue = Epilogue(
        bias=None if bias is None else bias.contiguous(),
        activation=activation,
        residual=None if residual is None else residual.reshape(y.shape).contiguous(),
    )
    plan = w4_plan(capability(x), rows, columns, inner)
    parts = None
    if plan.splits > 1:
        parts = x.new_empty((plan.splits, rows, columns), dtype=torch.float32)
    # The parts of a split sum are finished by the kernel that adds them up.
    first = epilogue if parts is None else Epilogue()
    launch(
        w4_gemm_kernel,
        plan.programs,
        (
            *(flat, packed.contiguous(), scale.contiguous()),
            None if zero is None else zero.contiguous(),
            *(parts, *first.arguments(y, None)),
            *(rows, columns, inner, groups, flat.stride(0), plan.split_steps),
        ),
        {
            **first.constants(),
            **w4_constants(plan.blocks, columns, inner, groups, flat.stride(0)),
            "UPCAST": INTERPRETED and x.dtype == torch.bfloat16,
        },
        warps=plan.blocks.warps,
        stages=plan.blocks.stages,
    )
    if parts is not None:
        split_sum(parts, epilogue, y, None)
    return y.reshape(*x.shape[:-1], columns)
