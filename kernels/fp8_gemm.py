"""Matrix product of 8-bit floats (e4m3): the plain version and the choice of backend.

Dimension letters: M rows (all leading dimensions of x, multiplied out), K inner, N columns.
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
    without_autocast,
)

FLOATS: tuple[torch.dtype, ...] = (torch.float32, torch.float16, torch.bfloat16)
"""What `dtype` may be."""

_SERVED = (
    "the Triton kernel serves non-empty float8_e4m3fn tensors on a CUDA device of compute "
    "capability 8.9 or later (or on the CPU under TRITON_INTERPRET=1) with fewer than 2^31 - 2^16 "
    "rows, columns and inner elements"
)


def fp8_gemm(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str = "none",
    dtype: torch.dtype = torch.float16,
    backend: str = "auto",
) -> Tensor:
    """Compute activation(x_scale · weight_scale · x weight^T + bias).

    Sums are handed to float32 after every block of the inner dimension (32 to 128 elements);
    inside a block the tensor cores of compute capability 9.0 keep fewer bits. The kernel
    has no gradients: where one of a scale or the bias is asked for, torch serves.

    Args:
        x: `[..., K]`, float8_e4m3fn.
        weight: `[N, K]`, float8_e4m3fn.
        x_scale: float32: of one element for all of `x`, or `[...]`, one a row (with or without a
            last dimension of 1).
        weight_scale: `[N]`, float32.
        bias: `[N]`, of a dtype in `FLOATS`; None adds nothing.
        activation: A name in `ACTIVATIONS`.
        dtype: Of the output; one of `FLOATS`.
        backend: `plain` is torch. `triton` insists on the Triton kernel. `auto` takes the kernel
            for CUDA tensors that it serves and torch for everything else.

    Returns:
        `[..., N]` in `dtype`. No rows give an empty tensor.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    check_name("activation", activation, ACTIVATIONS)
    check_name("backend", backend, BACKENDS)
    _check(x, weight, x_scale, weight_scale, bias, dtype)
    module = chosen(
        backend,
        "kernels.int8_triton",
        lambda found: _refusal(x, weight, found) or grad_refusal(x_scale, weight_scale, bias),
        _SERVED,
        {"x": x, "weight": weight},
    )
    if module is not None:
        result: Tensor = module.fp8_gemm_triton(
            x, weight, x_scale, weight_scale, bias, activation=activation, dtype=dtype
        )
        return result
    return fp8_gemm_plain(
        x, weight, x_scale, weight_scale, bias, activation=activation, dtype=dtype
    )


def fp8_gemm_plain(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str = "none",
    dtype: torch.dtype = torch.float16,
) -> Tensor:
    """Say in plain torch what `fp8_gemm` means; the arguments are its own, unchecked.

    Works on any device, the meta device included; sums are those of the dtype of `x_scale`.
    """
    wide = torch.promote_types(x_scale.dtype, torch.float32)
    each_row = x_scale.reshape(-1) if x_scale.numel() == 1 else x_scale.reshape(*x.shape[:-1], 1)
    with without_autocast(x.device.type):
        y = x.to(wide) @ weight.to(wide).t()
        y = y * (each_row.to(wide) * weight_scale.to(wide))
        return ACTIVATIONS[activation](y if bias is None else y + bias.to(wide)).to(dtype)


def _refusal(x: Tensor, weight: Tensor, module: ModuleType | None) -> str | None:
    """Say why the Triton kernel cannot take these tensors; None if it can."""
    if reason := refusal(x, module, (torch.float8_e4m3fn,)):
        return reason
    if x.is_cuda and torch.cuda.get_device_capability(x.device) < (8, 9):
        return f"compute capability {torch.cuda.get_device_capability(x.device)}"
    if max(x.numel() // x.shape[-1], *weight.shape) >= 2**31 - 2**16:
        return "a dimension of 2^31 - 2^16 or more"
    return None


def _check(
    x: Tensor,
    weight: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
) -> None:
    """Raise ValueError unless the arguments are as `fp8_gemm` describes them."""
    for name, tensor, wanted in (
        *(("x", x, torch.float8_e4m3fn), ("weight", weight, torch.float8_e4m3fn)),
        *(("x_scale", x_scale, torch.float32), ("weight_scale", weight_scale, torch.float32)),
    ):
        if tensor.dtype != wanted or tensor.device != x.device:
            raise ValueError(
                f"{name} must be {str(wanted).removeprefix('torch.')} on the device of x; got "
                f"{describe(tensor)}"
            )
    if x.dim() == 0 or x.shape[-1] == 0:
        raise ValueError(f"x must be [..., K] with K at least 1; got {describe(x)}")
    if weight.dim() != 2 or weight.shape[1] != x.shape[-1] or weight.shape[0] == 0:
        raise ValueError(
            f"weight must be [N, {x.shape[-1]}] with N at least 1, a row for each output; got "
            f"{list(weight.shape)} for x {list(x.shape)}. A weight [K, N] needs .t()."
        )
    rows, columns = x.shape[:-1], weight.shape[0]
    if x_scale.numel() != 1 and x_scale.shape not in (rows, (*rows, 1)):
        raise ValueError(
            f"x_scale must have one element or the shape {list(rows)}; got {list(x_scale.shape)} "
            f"for x {list(x.shape)}"
        )
    if weight_scale.shape != (columns,):
        raise ValueError(f"weight_scale must be [{columns}]; got {list(weight_scale.shape)}")
    if bias is not None and (
        bias.shape != (columns,) or bias.dtype not in FLOATS or bias.device != x.device
    ):
        raise ValueError(
            f"bias must be [{columns}] in float32, float16 or bfloat16 on the device of x; got "
            f"{describe(bias)}"
        )
    if dtype not in FLOATS:
        raise ValueError(f"dtype must be float32, float16 or bfloat16; got {dtype}")
