"""Matrix product with a fused epilogue, and with it the pointwise (1 x 1) convolution.

Dimension letters: M rows (all leading dimensions of x, multiplied out), K inner, N columns;
B batch, C input channels, H height, W width of a pointwise convolution, whose K is C.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from kernels.backend import (
    ACTIVATIONS,
    BACKENDS,
    check_like,
    check_name,
    chosen,
    describe,
    refusal,
    without_autocast,
)

_SERVED = (
    "the Triton kernel serves non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1) with fewer than "
    "2^31 - 2^16 rows, columns and inner elements"
)


def gemm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
    backend: str = "auto",
) -> Tensor:
    """Compute activation(x weight^T + bias) + residual: a linear layer with all that follows it.

    Sums are held in float32 whatever the tensors' precision, and rounded once, at the end; of
    float32 no bits are dropped (no TF32), so those products do not run on tensor cores. A split of
    the inner dimension, for few rows, is added up in order: the same sums on every run.
    Differentiable once in `x`, `weight`, `bias` and `residual`.

    Args:
        x: `[..., K]`; rows may lie apart in memory, as those of a slice do.
        weight: `[N, K]`, dtype and device of `x`.
        bias: `[N]`, dtype and device of `x`; None adds nothing.
        residual: `[..., N]`, dtype and device of `x`, added behind the activation; None adds
            nothing.
        activation: A name in `ACTIVATIONS`.
        backend: `plain` is torch. `triton` insists on the Triton kernel. `auto` takes the kernel
            for CUDA tensors that it serves and torch for everything else.

    Returns:
        `[..., N]` in the dtype of `x`. No rows give an empty tensor.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    _check(x, weight, bias, residual, activation, backend)
    module = chosen(
        backend,
        "kernels.gemm_triton",
        lambda found: _refusal(x, weight, found),
        _SERVED,
        {"x": x, "weight": weight},
    )
    if module is not None:
        result: Tensor = module.gemm_triton(x, weight, bias, residual, activation=activation)
        return result
    return gemm_plain(x, weight, bias, residual, activation=activation)


def gemm_plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
) -> Tensor:
    """Say in plain torch what `gemm` means; the arguments are its own, unchecked.

    Works on any device, the meta device included, and in float64, which stays float64. On CUDA,
    torch may use TF32 inside unless `torch.backends.cuda.matmul.allow_tf32` is off.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        y = functional.linear(x.to(wide), weight.to(wide), None if bias is None else bias.to(wide))
        y = ACTIVATIONS[activation](y)
        return (y if residual is None else y + residual.to(wide)).to(x.dtype)


def pointwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
    backend: str = "auto",
) -> Tensor:
    """Convolve with kernels of one pixel: `gemm` on the pixels of channels-last images.

    Args:
        x: Input, `[B, C, H, W]`. Channels-last memory saves the Triton backend a copy.
        weight: `[N, C, 1, 1]`, dtype and device of `x`.
        bias: `[N]`, dtype and device of `x`; None adds nothing.
        residual: `[B, N, H, W]`, dtype and device of `x`, added behind the activation.
        activation: A name in `ACTIVATIONS`.
        backend: As in `gemm`.

    Returns:
        `[B, N, H, W]` in the dtype of `x`, channels-last.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    if x.dim() != 4 or weight.dim() != 4 or weight.shape[1:] != (x.shape[1], 1, 1):
        raise ValueError(
            "x must be [batch, channels, height, width] and weight [N, channels, 1, 1]; got x "
            f"{list(x.shape)} and weight {list(weight.shape)}. Larger kernels belong to dense_conv."
        )
    if residual is not None and residual.shape != (x.shape[0], weight.shape[0], *x.shape[2:]):
        raise ValueError(
            f"residual must be {[x.shape[0], weight.shape[0], *x.shape[2:]]}, like the output; got "
            f"{list(residual.shape)}"
        )
    pixels = None if residual is None else residual.permute(0, 2, 3, 1)
    y = gemm(
        *(x.permute(0, 2, 3, 1), weight.flatten(1), bias, pixels),
        activation=activation,
        backend=backend,
    )
    return y.permute(0, 3, 1, 2)


def pointwise_conv2d_plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
) -> Tensor:
    """Say in plain torch what `pointwise_conv2d` means; the arguments are its own, unchecked."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        y = functional.conv2d(x.to(wide), weight.to(wide), None if bias is None else bias.to(wide))
        y = ACTIVATIONS[activation](y)
        return (y if residual is None else y + residual.to(wide)).to(x.dtype)


def _refusal(x: Tensor, weight: Tensor, module: ModuleType | None) -> str | None:
    """Say why the Triton kernel cannot take these tensors; None if it can."""
    if reason := refusal(x, module):
        return reason
    # Rows and columns are counted in 32 bits, and blocks may overhang.
    if max(x.numel() // x.shape[-1], *weight.shape) >= 2**31 - 2**16:
        return "a dimension of 2^31 - 2^16 or more"
    return None


def _check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    activation: str,
    backend: str,
) -> None:
    """Raise ValueError unless the arguments are as `gemm` describes them."""
    check_name("activation", activation, ACTIVATIONS)
    check_name("backend", backend, BACKENDS)
    if x.dim() == 0 or not x.is_floating_point() or x.shape[-1] == 0:
        raise ValueError(
            f"x must be a floating-point [..., K] with K at least 1; got {describe(x)}"
        )
    if weight.dim() != 2 or weight.shape[1] != x.shape[-1] or weight.shape[0] == 0:
        raise ValueError(
            f"weight must be [N, {x.shape[-1]}] with N at least 1, a row for each output; got "
            f"{list(weight.shape)} for x {list(x.shape)}. A weight [K, N] needs .t()."
        )
    wanted = (*x.shape[:-1], weight.shape[0])
    if bias is not None and bias.shape != wanted[-1:]:
        raise ValueError(f"bias must be [{weight.shape[0]}]; got {list(bias.shape)}")
    if residual is not None and residual.shape != wanted:
        raise ValueError(
            f"residual must be {list(wanted)}, like the output; got {list(residual.shape)}"
        )
    check_like(x, (("weight", weight), ("bias", bias), ("residual", residual)))
