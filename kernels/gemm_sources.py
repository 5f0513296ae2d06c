"""What would be compiled for a matrix product of a given shape, for `kernels.aot`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import torch

from kernels.aot import KernelSource, specialise
from kernels.backend import ACTIVATIONS, check_name
from kernels.epilogue_triton import OPTIONAL, SPLIT_SUM_BLOCK, split_sum_kernel
from kernels.gemm_blocks import gemm_constants, plan_for
from kernels.gemm_triton import gemm_kernel


def sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    activation: str = "none",
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape, for `kernels.aot`: a bias, and no saved sums.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of all tensors.
        shape: Rows M, inner K and columns N.
        activation: The fused activation of the forward kernel.

    Returns:
        The sources of `forward`, `input_grad` and `weight_grad`, and for those that are split of
        `forward_sum`, `input_grad_sum` and `weight_grad_sum`.

    Raises:
        ValueError: If the shape has not three sizes of at least 1.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            f"shape must be rows, inner and columns, each at least 1; got {list(shape)}"
        )
    check_name("activation", activation, ACTIVATIONS)
    rows, inner, columns = shape
    plain: Collection[str] = ("y_ptr",)
    return {
        **product_sources(
            "forward", capability, dtype, (rows, columns, inner), ("bias_ptr", "y_ptr"), activation
        ),
        **product_sources(
            "input_grad", capability, dtype, (rows, inner, columns), plain, b_inner_last=False
        ),
        **product_sources(
            *("weight_grad", capability, dtype, (columns, inner, rows), plain),
            a_inner_last=False,
            b_inner_last=False,
        ),
    }


def product_sources(
    role: str,
    capability: tuple[int, int],
    dtype: torch.dtype,
    sizes: tuple[int, int, int],
    given: Collection[str],
    activation: str = "none",
    *,
    y_dtype: torch.dtype | None = None,
    each_row: bool = False,
    a_inner_last: bool = True,
    b_inner_last: bool = True,
) -> dict[str, KernelSource]:
    """Return the source of one product, and of the sum of its parts if it is split.

    Args:
        role: What it is called; the sum is `<role>_sum`.
        capability: Compute capability.
        dtype: Of the operands; uint8 for float8_e4m3fn.
        sizes: Rows, columns and inner elements.
        given: Those of `OPTIONAL` that are not None.
        activation: The fused activation.
        y_dtype: Of output, bias and residual; None: `dtype`.
        each_row: Whether every row has a scale of its own.
        a_inner_last: As in `multiply`.
        b_inner_last: As in `multiply`.
    """
    rows, columns, inner = sizes
    plan = plan_for(capability, dtype.itemsize, rows, columns, inner)
    split = plan.splits > 1
    pointers = pointer_dtypes(dtype, y_dtype or dtype)
    fused = epilogue_constants(given, activation, each_row=each_row)
    first = epilogue_constants(("y_ptr",), "none") if split else {**fused, "partial_ptr": None}
    divisible = {"rows": rows, "columns": columns, "inner": inner}
    divisible |= {
        "a_stride": inner if a_inner_last else rows,
        "b_stride": inner if b_inner_last else columns,
        "split_inner": plan.split_inner,
    }
    multiples = tuple(name for name, size in divisible.items() if size % 16 == 0)
    found = {
        role: specialise(
            gemm_kernel,
            constants={
                **first,
                **gemm_constants(
                    plan.blocks,
                    (rows, columns, inner),
                    (divisible["a_stride"], divisible["b_stride"]),
                    a_inner_last=a_inner_last,
                    b_inner_last=b_inner_last,
                ),
                "FLOAT8": dtype == torch.uint8,
                "UPCAST": False,
            },
            dtype=dtype,
            pointers=pointers,
            multiples_of_16=multiples,
            warps=plan.blocks.warps,
            stages=plan.blocks.stages,
            programs=plan.programs,
        )
    }
    if split:
        found[f"{role}_sum"] = split_sum_source(fused, pointers, rows, columns)
    return {name: with_float_scalars(source) for name, source in found.items()}


def pointer_dtypes(dtype: torch.dtype, y_dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Return what the pointers of a product of operands of `dtype` point at, but the operands."""
    return {
        "partial_ptr": torch.int32 if dtype == torch.int8 else torch.float32,
        "row_scale_ptr": torch.float32,
        "column_scale_ptr": torch.float32,
        "shift_ptr": torch.int32,
        # An int8 output has a bias of another dtype.
        "bias_ptr": torch.float32 if y_dtype == torch.int8 else y_dtype,
        **dict.fromkeys(("residual_ptr", "y_ptr", "pre_ptr"), y_dtype),
    }


def with_float_scalars(source: KernelSource) -> KernelSource:
    """Return the source with the one number of `finish` that is no integer."""
    if "y_inverse" not in source.signature:
        return source
    return dataclasses.replace(source, signature={**source.signature, "y_inverse": "fp32"})


def split_sum_source(
    fused: dict[str, int | bool | str | None],
    pointers: dict[str, torch.dtype],
    rows: int,
    columns: int,
) -> KernelSource:
    """Return the source of the sum over splits behind a product of `rows` by `columns`."""
    return specialise(
        split_sum_kernel,
        constants={**fused, "BLOCK": SPLIT_SUM_BLOCK},
        dtype=torch.float32,
        pointers=pointers,
        multiples_of_16=tuple(
            name for name, size in (("rows", rows), ("columns", columns)) if size % 16 == 0
        ),
        warps=4,
        programs=-(-rows * columns // SPLIT_SUM_BLOCK),
    )


def epilogue_constants(
    given: Collection[str], activation: str, *, each_row: bool = False
) -> dict[str, int | bool | str | None]:
    """Return the constants of `finish` where only the arguments in `given` are not None."""
    absent = dict.fromkeys(name for name in OPTIONAL if name not in given)
    return {**absent, "EACH_ROW": each_row, "ACTIVATION": activation}
