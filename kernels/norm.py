"""Layer norm and RMS norm over the channels: plain torch versions and the choice of backend.

Dimension letters: B batch, C channels, H height, W width. `*` is any number of sizes.
"""

from __future__ import annotations

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
from kernels.norm_blocks import MOST_COLUMNS

_SERVED = (
    "the Triton kernels serve non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1), at most "
    f"{MOST_COLUMNS} channels"
)


def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    channel_dim: int = -1,
    activation: str = "none",
    backend: str = "auto",
) -> Tensor:
    """Bring the channels of each position to mean 0 and variance 1, then scale, shift, activate.

    (x - mean) / sqrt(variance + eps) * weight + bias: Ba et al. (arXiv 1607.06450), equation 3
    over the channels. Values are float32 inside and are rounded once, at the end. Differentiable
    once in `x`, `weight` and `bias`; the gradients are the same on every run. A NaN in `x` makes
    its position NaN.

    Args:
        x: Input, `[*, C]`, or `[B, C, *]` with `channel_dim=1`: then channels-last memory saves the
            Triton backend a copy.
        weight: Factor of each channel, `[C]`, dtype and device of `x`; None is 1.
        bias: Offset of each channel, `[C]`, dtype and device of `x`; None is 0.
        eps: Added to the variance, in its unit.
        channel_dim: Which dimension the channels are, 1 or the last (-1).
        activation: A name in `kernels.backend.ACTIVATIONS`.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        The shape and dtype of `x`; from Triton the channels are innermost in memory.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernels do not serve these tensors.
    """
    return _norm(x, weight, bias, eps, channel_dim, activation, backend, rms=False)


def rms_norm(
    x: Tensor,
    weight: Tensor | None = None,
    *,
    eps: float = 1e-6,
    channel_dim: int = -1,
    activation: str = "none",
    backend: str = "auto",
) -> Tensor:
    """Divide the channels of each position by their root mean square, then scale and activate.

    x / sqrt(mean(x²) + eps) * weight: Zhang and Sennrich (arXiv 1910.07467), equation 4. For the
    rest see `layer_norm`.

    Args:
        x: Input, `[*, C]`, or `[B, C, *]` with `channel_dim=1`.
        weight: Factor of each channel, `[C]`, dtype and device of `x`; None is 1.
        eps: Added to the mean square, in its unit.
        channel_dim: Which dimension the channels are, 1 or the last (-1).
        activation: A name in `kernels.backend.ACTIVATIONS`.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        The shape and dtype of `x`; from Triton the channels are innermost in memory.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernels do not serve these tensors.
    """
    return _norm(x, weight, None, eps, channel_dim, activation, backend, rms=True)


def layer_norm_plain(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    channel_dim: int = -1,
    activation: str = "none",
) -> Tensor:
    """Say in plain torch what `layer_norm` means; the arguments are its own, unchecked."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        rows = x.movedim(channel_dim, -1).to(wide)
        y = functional.layer_norm(
            rows,
            rows.shape[-1:],
            None if weight is None else weight.to(wide),
            None if bias is None else bias.to(wide),
            eps,
        )
        return ACTIVATIONS[activation](y).to(x.dtype).movedim(-1, channel_dim)


def rms_norm_plain(
    x: Tensor,
    weight: Tensor | None = None,
    *,
    eps: float = 1e-6,
    channel_dim: int = -1,
    activation: str = "none",
) -> Tensor:
    """Say in plain torch what `rms_norm` means; the arguments are its own, unchecked."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        rows = x.movedim(channel_dim, -1).to(wide)
        y = rows / (rows.square().mean(-1, keepdim=True) + eps).sqrt()
        if weight is not None:
            y = y * weight.to(wide)
        return ACTIVATIONS[activation](y).to(x.dtype).movedim(-1, channel_dim)


def _norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    channel_dim: int,
    activation: str,
    backend: str,
    *,
    rms: bool,
) -> Tensor:
    _check(x, {"weight": weight, "bias": bias}, channel_dim, activation, backend)
    module = chosen(
        backend,
        "kernels.norm_triton",
        lambda found: refusal(x, found) or _refusal(x, channel_dim),
        _SERVED,
        {"x": x, "channel_dim": channel_dim},
    )
    if module is not None:
        rows = x.movedim(channel_dim, -1)
        y: Tensor = module.norm_triton(rows, weight, bias, eps=eps, rms=rms, activation=activation)
        return y.movedim(-1, channel_dim)
    if rms:
        return rms_norm_plain(x, weight, eps=eps, channel_dim=channel_dim, activation=activation)
    return layer_norm_plain(
        x, weight, bias, eps=eps, channel_dim=channel_dim, activation=activation
    )


def _refusal(x: Tensor, channel_dim: int) -> str | None:
    """Say which size the kernels do not serve; None if they do."""
    channels = x.shape[channel_dim]
    return f"{channels} channels" if channels > MOST_COLUMNS else None


def _check(
    x: Tensor,
    vectors: dict[str, Tensor | None],
    channel_dim: int,
    activation: str,
    backend: str,
) -> None:
    """Raise ValueError unless the arguments are as the public functions describe them."""
    check_name("activation", activation, ACTIVATIONS)
    check_name("backend", backend, BACKENDS)
    if x.dim() < 1 or not x.is_floating_point():
        raise ValueError(
            f"x must be a floating-point tensor with at least one dimension; got {describe(x)}"
        )
    if channel_dim not in (-1, x.dim() - 1) and (channel_dim != 1 or x.dim() < 2):
        raise ValueError(
            f"channel_dim must be 1 or the last dimension (-1) of x {list(x.shape)}; got "
            f"{channel_dim}. Move the channels with x.movedim()."
        )
    channels = x.shape[channel_dim]
    if channels == 0:
        raise ValueError(f"x must have at least one channel; got {describe(x)}")
    for name, vector in vectors.items():
        if vector is not None and vector.shape != (channels,):
            raise ValueError(
                f"{name} must be [{channels}], one value for each channel of x; got "
                f"{list(vector.shape)} for x {list(x.shape)} with channel_dim {channel_dim}"
            )
    check_like(x, vectors.items())
