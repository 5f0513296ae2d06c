"""What would be compiled for a dense convolution of a given shape, for `kernels.aot`."""

from __future__ import annotations

from collections.abc import Collection

import torch

from kernels.aot import KernelSource, specialise
from kernels.backend import ACTIVATIONS, check_name
from kernels.dense_conv import KERNEL_SIZES
from kernels.dense_conv_blocks import conv_constants, conv_plan
from kernels.dense_conv_triton import dense_conv_kernel
from kernels.gemm_sources import (
    epilogue_constants,
    pointer_dtypes,
    split_sum_source,
    with_float_scalars,
)


def sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    columns: int = 64,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 1,
    dilation: int = 1,
    activation: str = "none",
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape, for `kernels.aot`: a bias, and no saved sums.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of all tensors.
        shape: Of the input, `[B, C, H, W]`; channels that are a multiple of 16 allow vector loads.
        columns: Output channels.
        kernel: Kernel size in pixels.
        stride: Step between outputs, in pixels.
        padding: Pixels of zeros on every side.
        dilation: Step between kernel taps, in pixels.
        activation: The fused activation.

    Returns:
        The source of `forward`, and if it is split of `forward_sum`. The gradients are torch's.

    Raises:
        ValueError: If the shape has not four positive sizes, or a setting does not fit.
    """
    return convolution_sources(
        *(capability, dtype, shape, columns, kernel, (stride, padding, dilation)),
        *(("bias_ptr", "y_ptr"), activation),
    )


def convolution_sources(
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    columns: int,
    kernel: int,
    steps: tuple[int, int, int],
    given: Collection[str],
    activation: str,
    *,
    y_dtype: torch.dtype | None = None,
    padding_value: bool = False,
) -> dict[str, KernelSource]:
    """Return the source of a convolution, and of the sum of its parts if it is split.

    Args:
        capability: Compute capability.
        dtype: Of the operands.
        shape: Of the input, `[B, C, H, W]`.
        columns: Output channels.
        kernel: Kernel size in pixels.
        steps: Stride, padding and dilation.
        given: Those optional arguments of `finish` that are not None.
        activation: The fused activation.
        y_dtype: Of output and bias; None: `dtype`.
        padding_value: Whether the padding holds something else than 0.
    """
    check_name("activation", activation, ACTIVATIONS)
    stride, padding, dilation = steps
    reach = dilation * (kernel - 1) + 1
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"shape must be BxCxHxW, four sizes of at least 1; got {list(shape)}")
    if kernel not in KERNEL_SIZES or min(columns, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            f"kernel must be from {KERNEL_SIZES[0]} to {KERNEL_SIZES[-1]}, columns, stride and "
            f"dilation at least 1, padding at least 0; got kernel {kernel}, columns {columns}, "
            f"stride {stride}, dilation {dilation}, padding {padding}"
        )
    batch, channels, height, width = shape
    if min(height, width) + 2 * padding < reach:
        raise ValueError(
            f"the window of {reach} pixels must fit the padded input; got {list(shape)} and "
            f"padding {padding}"
        )
    height_out, width_out = ((size + 2 * padding - reach) // stride + 1 for size in shape[2:])
    rows = batch * height_out * width_out
    plan = conv_plan(capability, dtype.itemsize, rows, columns, channels, kernel)
    split = plan.splits > 1
    pointers = pointer_dtypes(dtype, y_dtype or dtype)
    fused = epilogue_constants(given, activation)
    first = epilogue_constants(("y_ptr",), "none") if split else {**fused, "partial_ptr": None}
    sizes = {
        **{"rows": rows, "columns": columns, "channels": channels, "height": height},
        **{"width": width, "height_out": height_out, "width_out": width_out},
        "x_batch_stride": channels * height * width,
    }
    found = {
        "forward": specialise(
            dense_conv_kernel,
            constants={
                **first,
                **({} if padding_value else {"padding_value": None}),
                **conv_constants(plan.blocks, channels, columns, kernel, steps),
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
    return {role: with_float_scalars(source) for role, source in found.items()}
