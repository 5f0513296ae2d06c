"""Element-wise chains: bias, activation and residual, and batch norm as it is at inference.

Dimension letters: B batch, C channels, H height, W width, N tokens. `*` is any number of sizes.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

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
from kernels.recompute import with_plain_gradients

_MODULE = "kernels.elementwise_triton"
_SERVED = (
    "the Triton kernel serves non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1)"
)


def elementwise(
    x: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
    channel_dim: int = 1,
    residual_first: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Compute activation(x + bias) + residual in one pass over memory.

    Values are float32 inside and are rounded once, at the end. Differentiable once; the gradients
    are torch operations on the saved inputs.

    Args:
        x: Input, `[B, C, *]` or `[*, C]`, in any memory layout; one without gaps saves a copy.
        bias: One value a channel, `[C]`, dtype and device of `x`; None adds nothing.
        residual: Added to the result, shape, dtype and device of `x`; the layout of `x` saves a
            copy. None adds nothing.
        activation: A name in `kernels.backend.ACTIVATIONS`.
        channel_dim: Which dimension the channels are, 1 or the last (-1).
        residual_first: Add the residual before the activation, as ResNet does.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        The shape and dtype of `x`, and its layout if that has no gaps.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    _check(x, {"bias": bias}, residual, activation, channel_dim, backend)
    plain = partial(
        elementwise_plain,
        activation=activation,
        channel_dim=channel_dim,
        residual_first=residual_first,
    )
    module = chosen(backend, _MODULE, lambda found: refusal(x, found), _SERVED, {"x": x})
    if module is not None:
        run = partial(
            module.elementwise_triton,
            eps=0.0,
            activation=activation,
            channel_dim=channel_dim % x.dim(),
            residual_first=residual_first,
        )

        def fast(x: Tensor, bias: Tensor | None, residual: Tensor | None) -> Tensor:
            y: Tensor = run(x, None, None, None, bias, residual)
            return y

        return with_plain_gradients(fast, plain, x, bias, residual)
    return plain(x, bias, residual)


def elementwise_plain(
    x: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
    channel_dim: int = 1,
    residual_first: bool = False,
) -> Tensor:
    """Say in plain torch what `elementwise` means; the arguments are its own, unchecked."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        y = x.to(wide)
        if bias is not None:
            y = y + _along(bias.to(wide), x, channel_dim)
        return _finished(y, residual, activation, residual_first).to(x.dtype)


def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    eps: float = 1e-5,
    activation: str = "none",
    residual_first: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Apply batch norm with known statistics, an activation and a residual in one pass.

    activation((x - mean) / sqrt(variance + eps) * weight + bias) + residual: Ioffe and Szegedy
    (arXiv 1502.03167), algorithm 2. With the statistics of the batch, as in training, batch norm
    stays torch's. Differentiable once; the gradients are torch operations on the saved inputs.

    Args:
        x: Input, `[B, C, *]`; channels-last or channels-first memory without gaps saves a copy.
        mean: Mean of each channel, `[C]`, dtype and device of `x`.
        variance: Variance of each channel, `[C]`.
        weight: Factor of each channel, `[C]`; None is 1.
        bias: Offset of each channel, `[C]`; None is 0.
        residual: Added to the result, shape, dtype and device of `x`; None adds nothing.
        eps: Added to the variance, in its unit.
        activation: A name in `kernels.backend.ACTIVATIONS`.
        residual_first: Add the residual before the activation, as ResNet does.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        The shape and dtype of `x`, and its layout if that has no gaps.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    vectors = {"mean": mean, "variance": variance, "weight": weight, "bias": bias}
    _check(x, vectors, residual, activation, 1, backend)
    plain = partial(batch_norm_plain, eps=eps, activation=activation, residual_first=residual_first)
    tensors = (x, mean, variance, weight, bias, residual)
    module = chosen(backend, _MODULE, lambda found: refusal(x, found), _SERVED, {"x": x})
    if module is not None:
        fast = partial(
            module.elementwise_triton,
            eps=eps,
            activation=activation,
            channel_dim=1,
            residual_first=residual_first,
        )
        return with_plain_gradients(fast, plain, *tensors)
    return plain(*tensors)


def batch_norm_plain(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    eps: float = 1e-5,
    activation: str = "none",
    residual_first: bool = False,
) -> Tensor:
    """Say in plain torch what `batch_norm` means; the arguments are its own, unchecked."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        spread = (_along(variance.to(wide), x, 1) + eps).sqrt()
        y = (x.to(wide) - _along(mean.to(wide), x, 1)) / spread
        if weight is not None:
            y = y * _along(weight.to(wide), x, 1)
        if bias is not None:
            y = y + _along(bias.to(wide), x, 1)
        return _finished(y, residual, activation, residual_first).to(x.dtype)


def _along(vector: Tensor, x: Tensor, channel_dim: int) -> Tensor:
    """`[C]` with sizes of 1 behind it, so that it meets the channels of `x`."""
    return vector.view(-1, *[1] * (x.dim() - 1 - channel_dim % x.dim()))


def _finished(
    value: Tensor, residual: Tensor | None, activation: str, residual_first: bool
) -> Tensor:
    if residual is None:
        return ACTIVATIONS[activation](value)
    residual = residual.to(value.dtype)
    if residual_first:
        return ACTIVATIONS[activation](value + residual)
    return ACTIVATIONS[activation](value) + residual


def _check(
    x: Tensor,
    vectors: dict[str, Tensor | None],
    residual: Tensor | None,
    activation: str,
    channel_dim: int,
    backend: str,
) -> None:
    """Raise ValueError unless the arguments are as the public functions describe them."""
    check_name("activation", activation, ACTIVATIONS)
    check_name("backend", backend, BACKENDS)
    if x.dim() < 2 or not x.is_floating_point():
        raise ValueError(
            f"x must be a floating-point tensor of two dimensions or more; got {describe(x)}. A "
            "single sample needs x[None]."
        )
    if channel_dim not in (1, -1, x.dim() - 1):
        raise ValueError(
            f"channel_dim must be 1 or the last dimension (-1) of x {list(x.shape)}; got "
            f"{channel_dim}. Move the channels with x.movedim()."
        )
    channels = x.shape[channel_dim]
    for name, vector in vectors.items():
        if vector is not None and vector.shape != (channels,):
            raise ValueError(
                f"{name} must be [{channels}], one value for each channel of x; got "
                f"{list(vector.shape)} for x {list(x.shape)} with channel_dim {channel_dim}"
            )
    if residual is not None and residual.shape != x.shape:
        raise ValueError(
            f"residual must have the shape of x, {list(x.shape)}; got {list(residual.shape)}. "
            "Expand what is to be broadcast."
        )
    check_like(x, [*vectors.items(), ("residual", residual)])
