"""What the matrix products do with their sums: scale, bias, activation, residual, one store.

One function for all of them, and the kernel that adds up the parts of a sum whose inner dimension
was split over programs. The parts are added in their order, so a sum is the same on every run.
An argument that is None leaves its step out of the compiled code. An integer that is 1 becomes a
constant too: hence tl.cast, which takes both, where a tensor would have .to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from kernels.activation_triton import activate
from kernels.launch_triton import launch

SPLIT_SUM_BLOCK = 256
"""Outputs that one program of `split_sum_kernel` writes, with 4 warps."""

OPTIONAL: tuple[str, ...] = (
    *("row_scale_ptr", "column_scale_ptr", "shift_ptr", "bias_ptr", "residual_ptr"),
    *("y_inverse", "y_zero", "y_ptr", "pre_ptr"),
)
"""Arguments of `finish` that may be None, all but `y_ptr`, in its order."""


@triton.jit  # type: ignore[untyped-decorator]
def finish(
    total: tl.tensor,  # float32, or int32 where operands are int8; any shape
    row: tl.tensor,  # indices; with column and mask broadcast to the shape of total
    column: tl.tensor,
    mask: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    row_scale_ptr: tl.tensor,  # [rows], or [1] unless EACH_ROW; None with column_scale_ptr
    column_scale_ptr: tl.tensor,  # [columns]
    shift_ptr: tl.tensor,  # [columns], int32
    bias_ptr: tl.tensor,  # [columns]
    residual_ptr: tl.tensor,  # [rows, columns]
    y_inverse: tl.tensor,  # float32: steps of an int8 output to a unit
    y_zero: tl.tensor,  # int32: the step that means 0; None: 0
    y_ptr: tl.tensor,  # [rows, columns]
    pre_ptr: tl.tensor,  # like y: the sums before the activation
    EACH_ROW: tl.constexpr,
    ACTIVATION: tl.constexpr,
) -> None:
    """Write activation(scale * (total - shift) + bias) + residual."""
    offset = row.to(tl.int64) * columns + column
    column_mask = column < columns
    if shift_ptr is not None:
        total -= tl.load(shift_ptr + column, mask=column_mask, other=0)
    total = total.to(tl.float32)
    if column_scale_ptr is not None:
        column_scale = tl.load(column_scale_ptr + column, mask=column_mask, other=0.0)
        if EACH_ROW:
            row_scale = tl.load(row_scale_ptr + row, mask=row < rows, other=0.0)
        else:
            row_scale = tl.load(row_scale_ptr)
        total = total * (row_scale * column_scale)
    if bias_ptr is not None:
        total += tl.load(bias_ptr + column, mask=column_mask, other=0.0).to(tl.float32)
    if pre_ptr is not None:
        tl.store(pre_ptr + offset, total.to(pre_ptr.dtype.element_ty), mask=mask)
    total = activate(total, ACTIVATION)
    if residual_ptr is not None:
        total += tl.load(residual_ptr + offset, mask=mask, other=0.0).to(tl.float32)
    if y_inverse is not None:
        zero = 0.0 if y_zero is None else tl.cast(y_zero, tl.float32)
        total = tl.minimum(tl.maximum(total * y_inverse, -128.0 - zero), 127.0 - zero)
        # Adding 1.5 * 2^23 leaves no bits for a fraction: rounds half to even, as torch does.
        total = (total + 12582912.0) - 12582912.0 + zero
    tl.store(y_ptr + offset, total.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def split_sum_kernel(
    partial_ptr: tl.tensor,  # [splits, rows, columns], float32 or int32
    row_scale_ptr: tl.tensor,  # this and the next eight as in finish
    column_scale_ptr: tl.tensor,
    shift_ptr: tl.tensor,
    bias_ptr: tl.tensor,
    residual_ptr: tl.tensor,
    y_inverse: tl.tensor,
    y_zero: tl.tensor,
    y_ptr: tl.tensor,
    pre_ptr: tl.tensor,
    splits: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    EACH_ROW: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Add up the parts of BLOCK sums, in their order, and finish them."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    size = tl.cast(rows, tl.int64) * columns
    mask = place < size
    total = tl.zeros((BLOCK,), partial_ptr.dtype.element_ty)
    for split in range(splits):
        total += tl.load(partial_ptr + split * size + place, mask=mask, other=0)
    finish(
        total,
        place // columns,
        place % columns,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Epilogue:
    """What happens to the sums of a product; None leaves a step out. Tensors are contiguous."""

    row_scale: Tensor | None = None
    """`[rows]` or `[1]`, float32; together with `column_scale`."""
    column_scale: Tensor | None = None
    """`[columns]`, float32."""
    shift: Tensor | None = None
    """`[columns]`, int32: what zero points add to every sum."""
    bias: Tensor | None = None
    """`[columns]`."""
    activation: str = "none"
    """A name in `kernels.backend.ACTIVATIONS`."""
    residual: Tensor | None = None
    """Like the output, added behind the activation."""
    y_inverse: float | None = None
    """Steps of an int8 output to a unit; None for an output that is not int8."""
    y_zero: int | None = None
    """The step that means 0; None: 0."""

    def arguments(self, y: Tensor, pre: Tensor | None) -> tuple[Tensor | float | None, ...]:
        """Return the `OPTIONAL` arguments of `finish`."""
        return (
            *(self.row_scale, self.column_scale, self.shift, self.bias, self.residual),
            *(self.y_inverse, self.y_zero, y, pre),
        )

    def constants(self) -> dict[str, Any]:
        """Return the constants of `finish`."""
        each_row = self.row_scale is not None and self.row_scale.numel() > 1
        return {"EACH_ROW": each_row, "ACTIVATION": self.activation}


def split_sum(partial: Tensor, epilogue: Epilogue, y: Tensor, pre: Tensor | None) -> None:
    """Add up `partial`, `[splits, rows, columns]`, into `y`."""
    splits, rows, columns = partial.shape
    launch(
        split_sum_kernel,
        triton.cdiv(rows * columns, SPLIT_SUM_BLOCK),
        (partial, *epilogue.arguments(y, pre), splits, rows, columns),
        epilogue.constants() | {"BLOCK": SPLIT_SUM_BLOCK},
        warps=4,
    )
