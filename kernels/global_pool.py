"""Pooling over a whole map: the mean and the generalised mean, in plain torch or Triton.

Dimension letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from kernels.backend import (
    BACKENDS,
    check_like,
    check_name,
    chosen,
    describe,
    refusal,
    without_autocast,
)

_SERVED = (
    "the Triton kernels serve non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1), fewer than 2^31 "
    "elements an image"
)


def global_average_pool(x: Tensor, *, backend: str = "auto") -> Tensor:
    """Take the mean of each channel over all pixels. Sums are float32.

    Differentiable once.

    Args:
        x: Input, `[B, C, H, W]`; channels-last or contiguous memory saves a copy.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        `[B, C]` in the dtype of `x`.

    Raises:
        ValueError: If a shape or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    _check(x, backend)
    module = _served(x, backend)
    if module is None:
        return global_average_pool_plain(x)
    y: Tensor = module.global_average_triton(x)
    return y


def gem_pool(x: Tensor, exponent: Tensor, *, eps: float = 1e-6, backend: str = "auto") -> Tensor:
    """Take the generalised mean of each channel over all pixels: mean(max(x, eps)^p)^(1/p).

    Radenović et al., GeM (arXiv 1711.02512), equation 3, p shared by all channels. Powers and sums
    are float32. Differentiable once, in the exponent too; the gradients are the same on every run.
    A NaN in `x` makes its channel NaN.

    Args:
        x: Input, `[B, C, H, W]`; channels-last or contiguous memory saves a copy.
        exponent: p, one element, dtype and device of `x`; not 0.
        eps: Smaller values count as this; above 0.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        `[B, C]` in the dtype of `x`.

    Raises:
        ValueError: If a shape, dtype, device, value or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    _check(x, backend)
    if exponent.numel() != 1:
        raise ValueError(f"exponent must have one element; got {list(exponent.shape)}")
    if eps <= 0:
        raise ValueError(f"eps must be above 0, as powers of 0 may be infinite; got {eps}")
    check_like(x, [("exponent", exponent)])
    module = _served(x, backend)
    if module is None:
        return gem_pool_plain(x, exponent, eps=eps)
    y: Tensor = module.gem_triton(x, exponent, eps)
    return y


def global_average_pool_plain(x: Tensor) -> Tensor:
    """Say in plain torch what `global_average_pool` means."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        return x.to(wide).mean((2, 3)).to(x.dtype)


def gem_pool_plain(x: Tensor, exponent: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Say in plain torch what `gem_pool` means; the arguments are its own, unchecked."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        p = exponent.to(wide).reshape(())
        return ((x.to(wide).clamp(min=eps) ** p).mean((2, 3)) ** (1 / p)).to(x.dtype)


def _served(x: Tensor, backend: str) -> ModuleType | None:
    """Return the Triton version if it is to run; None if torch is."""

    def refuse(module: ModuleType | None) -> str | None:
        # Blocks of pixels may reach a little past an image.
        past = x.numel() > 0 and x[0].numel() + 2**20 >= 2**31
        too_large = "an image of 2^31 or more elements" if past else None
        return refusal(x, module) or too_large

    return chosen(backend, "kernels.global_pool_triton", refuse, _SERVED, {"x": x})


def _check(x: Tensor, backend: str) -> None:
    """Raise ValueError unless the arguments are as the public functions describe them."""
    check_name("backend", backend, BACKENDS)
    if x.dim() != 4 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(
            "x must be a floating-point [batch, channels, height, width] with at least one "
            f"channel, row and column; got {describe(x)}. A single image needs x[None]."
        )
