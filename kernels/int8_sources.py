"""What would be compiled for products of 8-bit operands, for `kernels.aot`.

The dtype is that of the output: the operands are int8, or float8_e4m3fn for `fp8_gemm`.
"""

from __future__ import annotations

import torch

from kernels.aot import KernelSource
from kernels.backend import ACTIVATIONS, check_name
from kernels.dense_conv_sources import convolution_sources
from kernels.gemm_sources import product_sources


def int8_gemm_sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    each_row: bool = False,
    zero_point: bool = False,
    activation: str = "none",
) -> dict[str, KernelSource]:
    """Say what would be compiled for an int8 product: a bias, and int8 outputs with a zero point.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: Of the output: float32, float16, bfloat16 or int8.
        shape: Rows M, inner K and columns N.
        each_row: Whether every row has a scale of its own.
        zero_point: Whether x has a zero point.
        activation: The fused activation.

    Returns:
        The source of `forward`, and if it is split of `forward_sum`.

    Raises:
        ValueError: If the shape has not three sizes of at least 1.
    """
    rows, inner, columns = _sizes(shape, activation)
    return product_sources(
        *("forward", capability, torch.int8, (rows, columns, inner)),
        *(_given(dtype, zero_point), activation),
        y_dtype=dtype,
        each_row=each_row,
    )


def fp8_gemm_sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    each_row: bool = False,
    activation: str = "none",
) -> dict[str, KernelSource]:
    """Say what would be compiled for a float8_e4m3fn product; arguments as in `int8_gemm_sources`.

    Raises:
        ValueError: If the shape has not three sizes of at least 1, or the GPU lacks the dtype.
    """
    rows, inner, columns = _sizes(shape, activation)
    if (0, 0) < capability < (8, 9):
        raise ValueError(
            f"float8_e4m3fn needs compute capability 8.9 or later, such as (9, 0); got {capability}"
        )
    return product_sources(
        *("forward", capability, torch.uint8, (rows, columns, inner)),
        *(_given(dtype, zero_point=False), activation),
        y_dtype=dtype,
        each_row=each_row,
    )


def int8_conv_sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    columns: int = 64,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 1,
    dilation: int = 1,
    zero_point: bool = False,
    activation: str = "none",
) -> dict[str, KernelSource]:
    """Say what would be compiled for an int8 convolution.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: Of the output: float32, float16, bfloat16 or int8.
        shape: Of the input, `[B, C, H, W]`.
        columns: Output channels.
        kernel: Kernel size in pixels.
        stride: Step between outputs, in pixels.
        padding: Pixels on every side.
        dilation: Step between kernel taps, in pixels.
        zero_point: Whether x has a zero point.
        activation: The fused activation.

    Returns:
        The source of `forward`, and if it is split of `forward_sum`.

    Raises:
        ValueError: If the shape has not four positive sizes, or a setting does not fit.
    """
    return convolution_sources(
        *(capability, torch.int8, shape, columns, kernel, (stride, padding, dilation)),
        *(_given(dtype, zero_point), activation),
        y_dtype=dtype,
        padding_value=zero_point,
    )


def _given(dtype: torch.dtype, zero_point: bool) -> tuple[str, ...]:
    """Name the arguments of `finish` that are not None."""
    return (
        *("row_scale_ptr", "column_scale_ptr", "bias_ptr", "y_ptr"),
        *(("shift_ptr",) if zero_point else ()),
        *(("y_inverse", "y_zero") if dtype == torch.int8 else ()),
    )


def _sizes(shape: tuple[int, ...], activation: str) -> tuple[int, int, int]:
    check_name("activation", activation, ACTIVATIONS)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            f"shape must be rows, inner and columns, each at least 1; got {list(shape)}"
        )
    rows, inner, columns = shape
    return rows, inner, columns
