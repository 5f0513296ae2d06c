"""int8 convolution (W8A8): the plain version and the choice of backend.

Dimension letters: B batch, C input channels, N output channels, H height, W width, K kernel size.
A value is scale * (step - zero point); the steps are int8. The output's size is that of
`kernels.dense_conv`.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from kernels.backend import (
    BACKENDS,
    check_name,
    chosen,
    grad_refusal,
    refusal,
)
from kernels.dense_conv import check_window, too_large
from kernels.int8_gemm import check_quantisation, overflows, requantise

_SERVED = (
    "the Triton kernel serves non-empty int8 tensors on a CUDA device of compute capability 8.0 or "
    "later (or on the CPU under TRITON_INTERPRET=1) whose sums cannot leave 32 bits (C · K · K up "
    "to 131,071; up to 65,793 with a zero point), at most 2^31 elements an image with its padding "
    "and 2^31 - 2^16 output pixels"
)


def int8_conv2d(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    x_zero_point: int = 0,
    weight_sum: Tensor | None = None,
    activation: str = "none",
    y_scale: float | None = None,
    y_zero_point: int = 0,
    dtype: torch.dtype = torch.float16,
    backend: str = "auto",
) -> Tensor:
    """Compute activation(x_scale · weight_scale · conv(x - x_zero_point, weight) + bias).

    The sums are exact, in int32; how they are rounded is said in `int8_gemm`. The padding means 0,
    whatever the zero point. The kernel has no gradients, as that of `int8_gemm`.

    Args:
        x: `[B, C, H, W]`, int8. Channels-last memory saves the Triton backend a copy.
        weight: `[N, C, K, K]`, int8, symmetric, K from 1 to 7. Channels-last memory saves a copy.
        x_scale: Size of a step of `x`: float32 of one element.
        weight_scale: Size of a step of `weight`, `[N]`, float32.
        bias: `[N]`, float32, float16 or bfloat16; None adds nothing.
        stride: Step between outputs, in pixels; at least 1.
        padding: Pixels on every side; at least 0.
        dilation: Step between kernel taps, in pixels; at least 1.
        x_zero_point: The step that means 0, from -128 to 127.
        weight_sum: `[N]`, int32: the sums of `weight` over all but its first dimension. Saves
            computing them where `x_zero_point` is not 0, and is not read where it is.
        activation: A name in `ACTIVATIONS`.
        y_scale: Size of a step of an int8 output, above 0; None for an output of `dtype`.
        y_zero_point: The step that means 0 in an int8 output, from -128 to 127.
        dtype: Of the output unless it is int8: float32, float16 or bfloat16.
        backend: `plain` is torch. `triton` insists on the Triton kernel. `auto` takes the kernel
            for CUDA tensors that it serves and torch for everything else.

    Returns:
        `[B, N, H', W']`; channels-last from Triton. A batch of 0 gives an empty tensor.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    check_name("backend", backend, BACKENDS)
    check_window(x, weight, stride, padding, dilation)
    check_quantisation(
        x,
        weight,
        x_scale,
        weight_scale,
        bias,
        scaled=torch.Size(()),
        weight_sum=weight_sum,
        activation=activation,
        x_zero_point=x_zero_point,
        y_scale=y_scale,
        y_zero_point=y_zero_point,
        dtype=dtype,
    )
    module = chosen(
        backend,
        "kernels.int8_triton",
        lambda found: (
            _refusal(x, weight, padding, dilation, x_zero_point, found)
            or grad_refusal(x_scale, weight_scale, bias)
        ),
        _SERVED,
        {"x": x, "weight": weight},
    )
    run = int8_conv2d_plain if module is None else module.int8_conv2d_triton
    result: Tensor = run(
        x,
        weight,
        x_scale,
        weight_scale,
        bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        x_zero_point=x_zero_point,
        weight_sum=weight_sum,
        activation=activation,
        y_scale=y_scale,
        y_zero_point=y_zero_point,
        dtype=dtype,
    )
    return result


def int8_conv2d_plain(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    x_zero_point: int = 0,
    weight_sum: Tensor | None = None,
    activation: str = "none",
    y_scale: float | None = None,
    y_zero_point: int = 0,
    dtype: torch.dtype = torch.float16,
) -> Tensor:
    """Say in plain torch what `int8_conv2d` means; the arguments are its own, unchecked.

    Works on any device, the meta device included. float64 holds the sums exactly.
    """
    del weight_sum  # It only saves work, and here there is none to save.
    total = functional.conv2d(
        x.double() - x_zero_point,
        weight.double(),
        stride=stride,
        padding=padding,
        dilation=dilation,
    )
    columns = (-1, 1, 1)
    return requantise(
        total,
        x_scale.reshape(1, 1, 1),
        weight_scale.reshape(columns),
        None if bias is None else bias.reshape(columns),
        activation,
        y_scale,
        y_zero_point,
        dtype,
    )


def _refusal(
    x: Tensor,
    weight: Tensor,
    padding: int,
    dilation: int,
    x_zero_point: int,
    module: ModuleType | None,
) -> str | None:
    """Say why the Triton kernel cannot take these tensors; None if it can."""
    if reason := refusal(x, module, (torch.int8,)):
        return reason
    if overflows(weight[0].numel(), x_zero_point):
        return f"C · K · K {weight[0].numel()}"
    return too_large(x, weight, padding, dilation)
