"""What would be compiled for a product with 4-bit weights, for `kernels.aot`."""

from __future__ import annotations

import torch

from kernels.aot import KernelSource, specialise
from kernels.backend import ACTIVATIONS, check_name
from kernels.gemm_sources import epilogue_constants, pointer_dtypes, split_sum_source
from kernels.w4_gemm import GROUP_SIZES
from kernels.w4_gemm_blocks import w4_constants, w4_plan
from kernels.w4_gemm_triton import w4_gemm_kernel


def sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    group_size: int = 128,
    zero: bool = False,
    activation: str = "none",
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape, for `kernels.aot`: with a bias.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float16 or bfloat16, of all tensors but the weight.
        shape: Rows M, inner K and columns N.
        group_size: Inner elements that share a scale: 32, 64 or 128, or 0 for all of them.
        zero: Whether every group has a zero point.
        activation: The fused activation.

    Returns:
        The source of `forward`, and if it is split of `forward_sum`.

    Raises:
        ValueError: If the shape has not three sizes of at least 1, or groups do not divide K.
    """
    check_name("activation", activation, ACTIVATIONS)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            f"shape must be rows, inner and columns, each at least 1; got {list(shape)}"
        )
    rows, inner, columns = shape
    if group_size not in (0, *GROUP_SIZES) or (group_size and inner % group_size):
        raise ValueError(
            f"group_size must be 32, 64 or 128 and divide the inner size, or 0 for all of it; got "
            f"{group_size} for {inner}"
        )
    groups = inner // group_size if group_size else 1
    plan = w4_plan(capability, rows, columns, inner)
    split = plan.splits > 1
    pointers = pointer_dtypes(dtype, dtype)
    pointers |= {"packed_ptr": torch.int32, "zero_ptr": torch.uint8}
    fused = epilogue_constants(("bias_ptr", "y_ptr"), activation)
    first = epilogue_constants(("y_ptr",), "none") if split else {**fused, "partial_ptr": None}
    sizes = {"rows": rows, "columns": columns, "inner": inner, "groups": groups, "x_stride": inner}
    found = {
        "forward": specialise(
            w4_gemm_kernel,
            constants={
                **first,
                **({} if zero else {"zero_ptr": None}),
                **w4_constants(plan.blocks, columns, inner, groups, inner),
                "UPCAST": False,
            },
            dtype=dtype,
            pointers=pointers,
            multiples_of_16=tuple(name for name, size in sizes.items() if size % 16 == 0),
            warps=plan.blocks.warps,
            stages=plan.blocks.stages,
            programs=plan.programs,
        )
    }
    if split:
        found["forward_sum"] = split_sum_source(fused, pointers, rows, columns)
    return found
