"""What would be compiled for an inverted-residual block of a given shape, for `kernels.aot`."""

from __future__ import annotations

import torch

from kernels.aot import KernelSource, specialise
from kernels.backend import ACTIVATIONS, check_name
from kernels.gemm_sources import epilogue_constants, pointer_dtypes, split_sum_source
from kernels.inverted_residual_blocks import MOST_COLUMNS, block_constants, block_plan
from kernels.inverted_residual_triton import inverted_residual_kernel


def sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    expanded: int = 192,
    columns: int = 32,
    kernel: int = 3,
    stride: int = 1,
    activation: str = "relu",
    residual: bool = False,
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape, for `kernels.aot`.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of all tensors.
        shape: Of the input, `[B, C, H, W]`.
        expanded: Expanded channels.
        columns: Output channels.
        kernel: Depthwise kernel size in pixels.
        stride: Step of the depthwise convolution, in pixels.
        activation: The activation of the expanded channels.
        residual: Whether the input is added.

    Returns:
        The source of `forward`, and if it is split of `forward_sum`.

    Raises:
        ValueError: If the shape has not four positive sizes, or a setting is not served.
    """
    check_name("activation", activation, ACTIVATIONS)
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"shape must be BxCxHxW, four sizes of at least 1; got {list(shape)}")
    if kernel not in (3, 5, 7) or stride not in (1, 2) or not 1 <= columns <= MOST_COLUMNS:
        raise ValueError(
            f"kernel must be 3, 5 or 7, stride 1 or 2, columns from 1 to {MOST_COLUMNS}; got "
            f"kernel {kernel}, stride {stride}, columns {columns}"
        )
    batch, channels, height, width = shape
    height_out, width_out = (height - 1) // stride + 1, (width - 1) // stride + 1
    rows = batch * height_out * width_out
    plan = block_plan(
        *(capability, dtype.itemsize, (batch, height_out, width_out), (channels, expanded)),
        *(kernel, stride),
    )
    split = plan.splits > 1
    pointers = pointer_dtypes(dtype, dtype)
    given = ("bias_ptr", "y_ptr", *(("residual_ptr",) if residual else ()))
    fused = epilogue_constants(given, "none")
    first = epilogue_constants(("y_ptr",), "none") if split else {**fused, "partial_ptr": None}
    sizes = {
        **{"x_batch_stride": channels * height * width, "rows": rows, "columns": columns},
        **{"channels": channels, "expanded": expanded, "height": height, "width": width},
        **{"height_out": height_out, "width_out": width_out, "tiles": plan.tiles},
        **{"splits": plan.splits, "split_expanded": plan.split_expanded},
    }
    found = {
        "forward": specialise(
            inverted_residual_kernel,
            constants={
                **first,
                **block_constants(plan, (channels, expanded, columns), kernel, stride, activation),
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
