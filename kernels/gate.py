"""Channel gates, squeeze-excite and ECA: plain torch versions and the choice of backend.

Dimension letters: B batch, C channels, H height, W width, R hidden size, K taps.
"""

from __future__ import annotations

from functools import partial
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
from kernels.gate_blocks import MOST_HIDDEN, MOST_TAPS
from kernels.recompute import with_plain_gradients

_SERVED = (
    "the Triton kernels serve non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1), fewer than 2^31 "
    f"elements an image, at most {MOST_HIDDEN} hidden values or {MOST_TAPS} taps"
)


def squeeze_excite(
    x: Tensor,
    squeeze_weight: Tensor,
    squeeze_bias: Tensor,
    excite_weight: Tensor,
    excite_bias: Tensor,
    *,
    activation: str = "relu",
    backend: str = "auto",
) -> Tensor:
    """Scale each channel by what a small network makes of all channels' means.

    x · sigmoid(W₂ act(W₁ mean(x) + b₁) + b₂): Hu et al. (arXiv 1709.01507), equations 2 to 4.
    Values are float32 inside. Differentiable once; the gradients are torch operations on the saved
    inputs.

    Args:
        x: Input, `[B, C, H, W]`; channels-last or contiguous memory saves a copy.
        squeeze_weight: W₁, `[R, C]`, dtype and device of `x`, as all that follow.
        squeeze_bias: b₁, `[R]`.
        excite_weight: W₂, `[C, R]`.
        excite_bias: b₂, `[C]`.
        activation: Between the two, a name in `kernels.backend.ACTIVATIONS`.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        The shape, dtype and layout of `x`.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernels do not serve these tensors.
    """
    check_name("activation", activation, ACTIVATIONS)
    _check_image(x, backend)
    channels = x.shape[1]
    if squeeze_weight.dim() != 2 or squeeze_weight.shape[1] != channels:
        raise ValueError(
            f"squeeze_weight must be [hidden, {channels}], as x is {list(x.shape)}; got "
            f"{list(squeeze_weight.shape)}. The weight of a 1 x 1 convolution needs .flatten(1)."
        )
    hidden = squeeze_weight.shape[0]
    weights = {
        "squeeze_weight": (squeeze_weight, (hidden, channels)),
        "squeeze_bias": (squeeze_bias, (hidden,)),
        "excite_weight": (excite_weight, (channels, hidden)),
        "excite_bias": (excite_bias, (channels,)),
    }
    for name, (tensor, shape) in weights.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} must be {list(shape)}; got {list(tensor.shape)}")
    check_like(x, [(name, tensor) for name, (tensor, _) in weights.items()])
    tensors = (x, squeeze_weight, squeeze_bias, excite_weight, excite_bias)
    plain = partial(squeeze_excite_plain, activation=activation)
    large = f"{hidden} hidden values" if not 1 <= hidden <= MOST_HIDDEN else None
    module = _served(x, backend, large)
    if module is None:
        return plain(*tensors)
    fast = partial(module.squeeze_excite_triton, activation=activation)
    return with_plain_gradients(fast, plain, *tensors)


def eca(x: Tensor, weight: Tensor, *, backend: str = "auto") -> Tensor:
    """Scale each channel by what a short convolution makes of its neighbours' means.

    x · sigmoid(conv(mean(x))): Wang et al. (arXiv 1910.03151), equation 7, zeros beyond the first
    and the last channel. Values are float32 inside. Differentiable once; the gradients are torch
    operations on the saved inputs.

    Args:
        x: Input, `[B, C, H, W]`; channels-last or contiguous memory saves a copy.
        weight: The convolution's kernel, `[K]`, K odd, dtype and device of `x`.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        The shape, dtype and layout of `x`.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernels do not serve these tensors.
    """
    _check_image(x, backend)
    if weight.dim() != 1 or weight.numel() % 2 == 0:
        raise ValueError(
            f"weight must be [K] with K odd; got {list(weight.shape)}. The weight of a Conv1d "
            "needs .flatten()."
        )
    check_like(x, [("weight", weight)])
    module = _served(x, backend, f"{weight.numel()} taps" if weight.numel() > MOST_TAPS else None)
    if module is None:
        return eca_plain(x, weight)
    return with_plain_gradients(module.eca_triton, eca_plain, x, weight)


def squeeze_excite_plain(
    x: Tensor,
    squeeze_weight: Tensor,
    squeeze_bias: Tensor,
    excite_weight: Tensor,
    excite_bias: Tensor,
    *,
    activation: str = "relu",
) -> Tensor:
    """Say in plain torch what `squeeze_excite` means; the arguments are its own, unchecked."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        values = x.to(wide)
        hidden = functional.linear(
            values.mean((2, 3)), squeeze_weight.to(wide), squeeze_bias.to(wide)
        )
        gates = functional.linear(
            ACTIVATIONS[activation](hidden), excite_weight.to(wide), excite_bias.to(wide)
        )
        return (values * gates.sigmoid()[:, :, None, None]).to(x.dtype)


def eca_plain(x: Tensor, weight: Tensor) -> Tensor:
    """Say in plain torch what `eca` means; the arguments are its own, unchecked."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        values = x.to(wide)
        means = values.mean((2, 3)).unsqueeze(1)
        kernel = weight.to(wide)[None, None]
        gates = functional.conv1d(means, kernel, padding=weight.numel() // 2).squeeze(1)
        return (values * gates.sigmoid()[:, :, None, None]).to(x.dtype)


def _served(x: Tensor, backend: str, large: str | None) -> ModuleType | None:
    """Return the Triton version if it is to run; None if torch is."""

    def refuse(module: ModuleType | None) -> str | None:
        # Blocks of pixels may reach a little past an image.
        past = x.numel() > 0 and x[0].numel() + 2**20 >= 2**31
        too_large = "an image of 2^31 or more elements" if past else None
        return refusal(x, module) or large or too_large

    return chosen(backend, "kernels.gate_triton", refuse, _SERVED, {"x": x})


def _check_image(x: Tensor, backend: str) -> None:
    check_name("backend", backend, BACKENDS)
    if x.dim() != 4 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(
            "x must be a floating-point [batch, channels, height, width] with at least one "
            f"channel, row and column; got {describe(x)}. A single image needs x[None]."
        )
