"""Launches of the products of 8-bit operands: the kernels are those of `gemm` and `dense_conv`."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.dense_conv_triton import channels_last, convolve, empty_output
from kernels.epilogue_triton import Epilogue
from kernels.gemm_triton import lines, multiply


def int8_gemm_triton(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None,
    *,
    x_zero_point: int,
    weight_sum: Tensor | None,
    activation: str,
    y_scale: float | None,
    y_zero_point: int,
    dtype: torch.dtype,
) -> Tensor:
    """Run `int8_gemm` on the Triton kernels; the arguments are its own, already checked."""
    flat = x.reshape(-1, x.shape[-1])
    y = torch.empty(
        (flat.shape[0], weight.shape[0]),
        dtype=dtype if y_scale is None else torch.int8,
        device=x.device,
    )
    if x_zero_point and weight_sum is None:
        weight_sum = weight.sum(1, dtype=torch.int32)
    epilogue = _epilogue(
        *(x_scale, weight_scale, bias, x_zero_point, weight_sum),
        *(activation, y_scale, y_zero_point),
    )
    multiply(lines(flat), lines(weight), y, epilogue)
    return y.reshape(*x.shape[:-1], weight.shape[0])


def int8_conv2d_triton(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None,
    *,
    stride: int,
    padding: int,
    dilation: int,
    x_zero_point: int,
    weight_sum: Tensor | None,
    activation: str,
    y_scale: float | None,
    y_zero_point: int,
    dtype: torch.dtype,
) -> Tensor:
    """Run `int8_conv2d` on the Triton kernels; the arguments are its own, already checked."""
    if x_zero_point and weight_sum is None:
        weight_sum = weight.sum((1, 2, 3), dtype=torch.int32)
    epilogue = _epilogue(
        *(x_scale, weight_scale, bias, x_zero_point, weight_sum),
        *(activation, y_scale, y_zero_point),
    )
    y_dtype = dtype if y_scale is None else torch.int8
    return convolve(
        channels_last(x),
        channels_last(weight),
        empty_output(x, weight, stride, padding, dilation, y_dtype),
        epilogue,
        stride=stride,
        padding=padding,
        dilation=dilation,
        # A padded pixel means 0, and so what the zero point adds is the same everywhere.
        padding_value=x_zero_point or None,
    )


def fp8_gemm_triton(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None,
    *,
    activation: str,
    dtype: torch.dtype,
) -> Tensor:
    """Run `fp8_gemm` on the Triton kernels; the arguments are its own, already checked."""
    flat = x.reshape(-1, x.shape[-1])
    y = torch.empty((flat.shape[0], weight.shape[0]), dtype=dtype, device=x.device)
    epilogue = _epilogue(x_scale, weight_scale, bias, 0, None, activation, None, 0)
    multiply(lines(flat).view(torch.uint8), lines(weight).view(torch.uint8), y, epilogue)
    return y.reshape(*x.shape[:-1], weight.shape[0])


def _epilogue(
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None,
    x_zero_point: int,
    weight_sum: Tensor | None,
    activation: str,
    y_scale: float | None,
    y_zero_point: int,
) -> Epilogue:
    shift = None
    if x_zero_point and weight_sum is not None:
        shift = (weight_sum * x_zero_point).contiguous()
    return Epilogue(
        row_scale=x_scale.reshape(-1).contiguous(),
        column_scale=weight_scale.contiguous(),
        shift=shift,
        bias=None if bias is None else bias.contiguous(),
        activation=activation,
        y_inverse=None if y_scale is None else 1.0 / y_scale,
        y_zero=y_zero_point or None,
    )
