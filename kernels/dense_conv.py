"""Dense convolution with a fused epilogue: the plain version and the choice of backend.

Dimension letters: B batch, C input channels, N output channels, H height, W width, K kernel size,
p padding, s stride, d dilation. H' = floor((H + 2p - d (K - 1) - 1) / s) + 1, and likewise W'.
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

KERNEL_SIZES: tuple[int, ...] = tuple(range(1, 8))
"""Kernel sizes K that the operation knows, in pixels."""

_SERVED = (
    "the Triton kernel serves non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1), at most 2^31 "
    "elements an image with its padding and 2^31 - 2^16 output pixels"
)


def dense_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    activation: str = "none",
    backend: str = "auto",
) -> Tensor:
    """Compute activation(conv(x, weight) + bias) + residual without an im2col copy.

    Sums are held in float32 whatever the tensors' precision, and rounded once, at the end; of
    float32 no bits are dropped (no TF32). Differentiable once in `x`, `weight`, `bias` and
    `residual`; the gradients of `x` and `weight` are torch's own, as cuDNN computes them well.

    Args:
        x: Input, `[B, C, H, W]`. Channels-last memory saves the Triton backend a copy.
        weight: `[N, C, K, K]`, K from 1 to 7, odd or even; dtype and device of `x`. Channels-last
            memory saves a copy here too.
        bias: `[N]`, dtype and device of `x`; None adds nothing.
        residual: `[B, N, H', W']`, dtype and device of `x`, added behind the activation.
        stride: Step between outputs, in pixels; at least 1.
        padding: Pixels of zeros on every side; at least 0.
        dilation: Step between kernel taps, in pixels; at least 1.
        activation: A name in `ACTIVATIONS`.
        backend: `plain` is torch. `triton` insists on the Triton kernel. `auto` takes the kernel
            for CUDA tensors that it serves and torch for everything else.

    Returns:
        `[B, N, H', W']` in the dtype of `x`; channels-last from Triton. A batch of 0 gives an
        empty tensor.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    _check(x, weight, bias, residual, stride, padding, dilation, activation, backend)
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    module = chosen(
        backend,
        "kernels.dense_conv_triton",
        lambda found: refusal(x, found) or too_large(x, weight, padding, dilation),
        _SERVED,
        {"x": x, "weight": weight},
    )
    if module is not None:
        result: Tensor = module.dense_conv2d_triton(
            x, weight, bias, residual, **steps, activation=activation
        )
        return result
    return dense_conv2d_plain(x, weight, bias, residual, **steps, activation=activation)


def dense_conv2d_plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    activation: str = "none",
) -> Tensor:
    """Say in plain torch what `dense_conv2d` means; the arguments are its own, unchecked.

    Works on any device, the meta device included, and in float64, which stays float64. On CUDA,
    torch may use TF32 inside unless `torch.backends.cudnn.allow_tf32` is off.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        y = functional.conv2d(
            x.to(wide),
            weight.to(wide),
            None if bias is None else bias.to(wide),
            stride=stride,
            padding=padding,
            dilation=dilation,
        )
        y = ACTIVATIONS[activation](y)
        return (y if residual is None else y + residual.to(wide)).to(x.dtype)


def output_shape(
    x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int
) -> tuple[int, int, int, int]:
    """Return `[B, N, H', W']`; rows or columns of at most 0 mean a window larger than the input."""
    reach = dilation * (weight.shape[-1] - 1) + 1
    height, width = ((size + 2 * padding - reach) // stride + 1 for size in x.shape[2:])
    return x.shape[0], weight.shape[0], height, width


def too_large(x: Tensor, weight: Tensor, padding: int, dilation: int) -> str | None:
    """Say which size passes what the kernel's 32-bit offsets reach; None if none does."""
    reach = 2 * padding + dilation * weight.shape[-1] + 256
    if (x.shape[2] + reach) * (x.shape[3] + reach) * x.shape[1] >= 2**31:
        return "an image of 2^31 or more elements"
    if x.shape[0] * (x.shape[2] + reach) * (x.shape[3] + reach) >= 2**31 - 2**16:
        return "2^31 - 2^16 or more output pixels"
    return None


def check_window(
    x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int
) -> tuple[int, int, int, int]:
    """Raise ValueError unless input, kernel and steps fit together; return the output's shape."""
    for name, step in (("stride", stride), ("dilation", dilation)):
        if step < 1:
            raise ValueError(f"{name} must be at least 1 pixel; got {step}")
    if padding < 0:
        raise ValueError(f"padding must be at least 0 pixels; got {padding}")
    if x.dim() != 4 or 0 in x.shape[1:]:
        raise ValueError(
            "x must be [batch, channels, height, width] with at least one channel, row and column; "
            f"got {describe(x)}. A single image needs x[None]."
        )
    if weight.dim() != 4 or weight.shape[1] != x.shape[1] or weight.shape[0] == 0:
        raise ValueError(
            f"weight must be [N, {x.shape[1]}, K, K], all channels of x for each output; got "
            f"{list(weight.shape)} for x {list(x.shape)}. Grouped kernels are not served."
        )
    if weight.shape[2] != weight.shape[3] or weight.shape[3] not in KERNEL_SIZES:
        raise ValueError(
            f"weight must have a square kernel of size {KERNEL_SIZES[0]} to {KERNEL_SIZES[-1]}; "
            f"got {list(weight.shape)}"
        )
    shape = output_shape(x, weight, stride, padding, dilation)
    if min(shape[2:]) < 1:
        raise ValueError(
            f"the window must fit the padded input; got x {list(x.shape)}, weight "
            f"{list(weight.shape)}, padding {padding}, dilation {dilation}. More padding helps."
        )
    return shape


def _check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
    activation: str,
    backend: str,
) -> None:
    """Raise ValueError unless the arguments are as `dense_conv2d` describes them."""
    check_name("activation", activation, ACTIVATIONS)
    check_name("backend", backend, BACKENDS)
    if not x.is_floating_point():
        raise ValueError(f"x must be floating-point; got {describe(x)}. int8 goes to int8_conv2d.")
    shape = check_window(x, weight, stride, padding, dilation)
    if bias is not None and bias.shape != shape[1:2]:
        raise ValueError(f"bias must be [{shape[1]}]; got {list(bias.shape)}")
    if residual is not None and residual.shape != shape:
        raise ValueError(
            f"residual must be {list(shape)}, like the output; got {list(residual.shape)}"
        )
    check_like(x, (("weight", weight), ("bias", bias), ("residual", residual)))
