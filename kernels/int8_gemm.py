"""int8 matrix product (W8A8): the plain version and the choice of backend.

Dimension letters: M rows (all leading dimensions of x, multiplied out), K inner, N columns.
A value is scale * (step - zero point); the steps are int8.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from kernels.backend import (
    ACTIVATIONS,
    BACKENDS,
    check_name,
    chosen,
    describe,
    grad_refusal,
    refusal,
)

FLOATS: tuple[torch.dtype, ...] = (torch.float32, torch.float16, torch.bfloat16)
"""What `dtype` may be."""

_SERVED = (
    "the Triton kernel serves non-empty int8 tensors on a CUDA device of compute capability 8.0 or "
    "later (or on the CPU under TRITON_INTERPRET=1) whose sums cannot leave 32 bits (K up to "
    "131,071; up to 65,793 with a zero point), and fewer than 2^31 - 2^16 rows and columns"
)


def int8_gemm(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None = None,
    *,
    x_zero_point: int = 0,
    weight_sum: Tensor | None = None,
    activation: str = "none",
    y_scale: float | None = None,
    y_zero_point: int = 0,
    dtype: torch.dtype = torch.float16,
    backend: str = "auto",
) -> Tensor:
    """Compute activation(x_scale · weight_scale · (x - x_zero_point) weight^T + bias).

    The product is exact, in int32. It is scaled in float32 and rounded once: to `dtype`, or with
    `y_scale` to int8 steps, half to even, those past the ends to -128 or 127. On a GPU scale and
    bias are one fused multiply-add, so a value half-way between two steps may fall to either.
    The kernel has no gradients: where one of a scale or the bias is asked for, torch serves.

    Args:
        x: `[..., K]`, int8.
        weight: `[N, K]`, int8, symmetric.
        x_scale: Size of a step of `x`, float32: of one element for all of `x`, or `[...]`, one a
            row (with or without a last dimension of 1).
        weight_scale: Size of a step of `weight`, `[N]`, float32.
        bias: `[N]`, of a dtype in `FLOATS`; None adds nothing.
        x_zero_point: The step that means 0, from -128 to 127.
        weight_sum: `[N]`, int32: the sums of the rows of `weight`. Saves computing them where
            `x_zero_point` is not 0, and is not read where it is.
        activation: A name in `ACTIVATIONS`.
        y_scale: Size of a step of an int8 output, above 0; None for an output of `dtype`.
        y_zero_point: The step that means 0 in an int8 output, from -128 to 127.
        dtype: Of the output unless it is int8; one of `FLOATS`.
        backend: `plain` is torch. `triton` insists on the Triton kernel. `auto` takes the kernel
            for CUDA tensors that it serves and torch for everything else.

    Returns:
        `[..., N]`. No rows give an empty tensor.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    check_name("backend", backend, BACKENDS)
    _check(x, weight)
    check_quantisation(
        x,
        weight,
        x_scale,
        weight_scale,
        bias,
        scaled=x.shape[:-1],
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
            _refusal(x, weight, x_zero_point, found) or grad_refusal(x_scale, weight_scale, bias)
        ),
        _SERVED,
        {"x": x, "weight": weight},
    )
    run = int8_gemm_plain if module is None else module.int8_gemm_triton
    result: Tensor = run(
        x,
        weight,
        x_scale,
        weight_scale,
        bias,
        x_zero_point=x_zero_point,
        weight_sum=weight_sum,
        activation=activation,
        y_scale=y_scale,
        y_zero_point=y_zero_point,
        dtype=dtype,
    )
    return result


def int8_gemm_plain(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None = None,
    *,
    x_zero_point: int = 0,
    weight_sum: Tensor | None = None,
    activation: str = "none",
    y_scale: float | None = None,
    y_zero_point: int = 0,
    dtype: torch.dtype = torch.float16,
) -> Tensor:
    """Say in plain torch what `int8_gemm` means; the arguments are its own, unchecked.

    Works on any device, the meta device included. float64 holds the product exactly.
    """
    del weight_sum  # It only saves work, and here there is none to save.
    total = (x.double() - x_zero_point) @ weight.double().t()
    each_row = x_scale.reshape(-1) if x_scale.numel() == 1 else x_scale.reshape(*x.shape[:-1], 1)
    return requantise(
        *(total, each_row, weight_scale, bias, activation, y_scale, y_zero_point, dtype)
    )


def requantise(
    total: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None,
    activation: str,
    y_scale: float | None,
    y_zero_point: int,
    dtype: torch.dtype,
) -> Tensor:
    """Scale exact sums, whose shapes the scales and the bias must broadcast to, and round them."""
    wide = torch.promote_types(x_scale.dtype, torch.float32)
    y = total.to(wide) * (x_scale.to(wide) * weight_scale.to(wide))
    y = ACTIVATIONS[activation](y if bias is None else y + bias.to(wide))
    if y_scale is None:
        return y.to(dtype)
    steps = (y * (1.0 / y_scale)).round() + y_zero_point
    return steps.clamp(-128, 127).to(torch.int8)


def check_quantisation(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None,
    *,
    scaled: torch.Size,
    weight_sum: Tensor | None,
    activation: str,
    x_zero_point: int,
    y_scale: float | None,
    y_zero_point: int,
    dtype: torch.dtype,
) -> None:
    """Raise ValueError unless everything but the shapes of `x` and `weight` is as described.

    `scaled` is the shape that `x_scale` has if it is not of one element.
    """
    check_name("activation", activation, ACTIVATIONS)
    columns = weight.shape[0]
    for name, tensor in (("x", x), ("weight", weight)):
        if tensor.dtype != torch.int8:
            raise ValueError(f"{name} must be int8; got {describe(tensor)}")
    if x_scale.numel() != 1 and x_scale.shape not in (scaled, (*scaled, 1)):
        raise ValueError(
            f"x_scale must have one element or the shape {list(scaled)}; got {list(x_scale.shape)} "
            f"for x {list(x.shape)}"
        )
    if weight_scale.shape != (columns,):
        raise ValueError(f"weight_scale must be [{columns}]; got {list(weight_scale.shape)}")
    for name, tensor in (("x_scale", x_scale), ("weight_scale", weight_scale)):
        if tensor.dtype != torch.float32:
            raise ValueError(f"{name} must be float32; got {describe(tensor)}")
    if bias is not None and (bias.shape != (columns,) or bias.dtype not in FLOATS):
        raise ValueError(
            f"bias must be [{columns}] in float32, float16 or bfloat16; got {describe(bias)}"
        )
    if weight_sum is not None and (
        weight_sum.shape != (columns,) or weight_sum.dtype != torch.int32
    ):
        raise ValueError(f"weight_sum must be [{columns}] in int32; got {describe(weight_sum)}")
    for name, other in (
        *(("weight", weight), ("x_scale", x_scale), ("weight_scale", weight_scale)),
        *(("bias", bias), ("weight_sum", weight_sum)),
    ):
        if other is not None and other.device != x.device:
            raise ValueError(
                f"{name} must be on the device of x; got {name} {describe(other)} and x "
                f"{describe(x)}. Move one of them with .to()."
            )
    for name, zero in (("x_zero_point", x_zero_point), ("y_zero_point", y_zero_point)):
        if not -128 <= zero <= 127:
            raise ValueError(f"{name} must be from -128 to 127; got {zero}")
    if y_scale is not None and not y_scale > 0:
        raise ValueError(f"y_scale must be above 0; got {y_scale}")
    if dtype not in FLOATS:
        raise ValueError(f"dtype must be float32, float16 or bfloat16; got {dtype}")


def overflows(inner: int, x_zero_point: int) -> bool:
    """Whether sums of `inner` products of steps may leave 32 bits."""
    return inner * 128 * (255 if x_zero_point else 128) >= 2**31


def _refusal(x: Tensor, weight: Tensor, x_zero_point: int, module: ModuleType | None) -> str | None:
    """Say why the Triton kernel cannot take these tensors; None if it can."""
    if reason := refusal(x, module, (torch.int8,)):
        return reason
    if overflows(x.shape[-1], x_zero_point):
        return f"K {x.shape[-1]}"
    if max(x.numel() // x.shape[-1], weight.shape[0]) >= 2**31 - 2**16:
        return "2^31 - 2^16 or more rows or columns"
    return None


def _check(x: Tensor, weight: Tensor) -> None:
    """Raise ValueError unless the shapes are as `int8_gemm` describes them."""
    if x.dim() == 0 or x.shape[-1] == 0:
        raise ValueError(f"x must be [..., K] with K at least 1; got {describe(x)}")
    if weight.dim() != 2 or weight.shape[1] != x.shape[-1] or weight.shape[0] == 0:
        raise ValueError(
            f"weight must be [N, {x.shape[-1]}] with N at least 1, a row for each output; got "
            f"{list(weight.shape)} for x {list(x.shape)}. A weight [K, N] needs .t()."
        )
