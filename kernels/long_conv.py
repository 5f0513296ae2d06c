"""Convolution with a kernel as long as the sequence: plain torch and the choice of backend.

Dimension letters: B batch, C channels, L length, P taps of the kernel.
"""

from __future__ import annotations

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
from kernels.long_conv_blocks import MOST_SIZE, transform_size

_SERVED = (
    "the Triton kernel serves non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1), transforms of at "
    f"most {MOST_SIZE['half']} in half precision and {MOST_SIZE['float']} in float32 (the power of "
    "two from twice the length)"
)


def long_conv(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    *,
    causal: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Convolve every channel with its own long kernel, and add a bias.

    Circular: y[t] = Σ x[s] k[(t - s) mod P] + bias. P = L wraps round; P ≥ 2L - 1 does not, and
    holds the negative lags at its end, as SGConv (arXiv 2210.09298) has them. Causal:
    y[t] = Σ x[s] k[t - s] + bias over s ≤ t. A kernel that is an outer product over an image is one
    such convolution along each side. Differentiable once in all tensors; the gradient of the kernel
    is torch's Fourier transform. What is not finite in `x` makes its whole sequence NaN.

    Args:
        x: Input, `[B, C, L]`; contiguous memory saves a copy.
        kernel: One kernel a channel, `[C, P]`, P ≥ L unless causal, dtype and device of `x`.
        bias: One value a channel, `[C]`; None adds nothing.
        causal: Whether outputs see earlier inputs only.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        `[B, C, L]` in the dtype of `x`. From Triton, half precisions are multiplied as TF32
        numbers, whose mantissa is that of float16, and float32 as three of them; sums are float32.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    _check(x, kernel, bias, causal, backend)
    module = chosen(
        backend,
        "kernels.long_conv_triton",
        lambda found: refusal(x, found) or _refusal(x, kernel, causal),
        _SERVED,
        {"x": x, "kernel": kernel},
    )
    if module is not None:
        y: Tensor = module.long_conv_triton(x, kernel, bias, causal=causal)
        return y
    return long_conv_plain(x, kernel, bias, causal=causal)


def _refusal(x: Tensor, kernel: Tensor, causal: bool) -> str | None:
    """Say which size the kernels do not serve; None if they do."""
    size = transform_size(x.shape[2], kernel.shape[1], causal=causal)
    most = MOST_SIZE["float" if x.dtype == torch.float32 else "half"]
    return f"a transform of {size}" if size > most else None


def long_conv_plain(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None, *, causal: bool = False
) -> Tensor:
    """Say in plain torch what `long_conv` means; the arguments are its own, unchecked."""
    if x.shape[0] == 0:
        return x.clone()  # Some transforms of torch refuse an empty batch.
    wide = torch.promote_types(x.dtype, torch.float32)
    length, taps = x.shape[2], kernel.shape[1]
    # Padding by as much as can wrap round makes a circular convolution a causal one.
    period = length + taps if causal else taps
    with without_autocast(x.device.type):
        spectrum = torch.fft.rfft(x.to(wide), n=period) * torch.fft.rfft(kernel.to(wide), n=period)
        y = torch.fft.irfft(spectrum, n=period)[:, :, :length]
        if bias is not None:
            y = y + bias.to(wide)[:, None]
        out: Tensor = y.to(x.dtype)
        return out


def _check(x: Tensor, kernel: Tensor, bias: Tensor | None, causal: bool, backend: str) -> None:
    """Raise ValueError unless the arguments are as `long_conv` describes them."""
    check_name("backend", backend, BACKENDS)
    if x.dim() != 3 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(
            "x must be a floating-point [batch, channels, length] with at least one channel and "
            f"value; got {describe(x)}. Tokens of features need x.transpose(1, 2)."
        )
    channels, length = x.shape[1:]
    least = 1 if causal else length
    if kernel.dim() != 2 or kernel.shape[0] != channels or kernel.shape[1] < least:
        raise ValueError(
            f"kernel must be [{channels}, {least} or more] for x {list(x.shape)}"
            f"{'' if causal else ' (unless causal=True)'}; got {list(kernel.shape)}"
        )
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"bias must be [{channels}]; got {list(bias.shape)}")
    check_like(x, [("kernel", kernel), ("bias", bias)])
