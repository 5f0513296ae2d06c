"""Depthwise convolution: the plain torch version, which is its meaning, and the choice of backend.

Dimension letters: B batch, C channels, H height, W width, R and K rows and columns of the kernel,
s stride, d dilation.
The output has H' = ceil(H / s) rows and W' = ceil(W / s) columns ("same" padding).
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

KERNEL_SIZES: tuple[int, ...] = tuple(range(1, 32, 2))
"""Kernel sizes R and K that the operation knows, in pixels."""

_SERVED = (
    "the Triton kernel serves non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1), at most 2^31 "
    "elements an image with its padding"
)


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
    activation: str = "none",
    backend: str = "auto",
) -> Tensor:
    """Convolve every channel with its own kernel: activation(x * weight + bias) + residual.

    The padding is d · (R - 1) / 2 rows and d · (K - 1) / 2 columns of zeros on either side, so a
    stride of 1 keeps the size. Sums are held in float32 whatever the tensors' precision, and
    rounded once, at the end. Differentiable once in every tensor. A NaN in `x` reaches exactly the
    outputs that see it. The residual comes last, as in blocks that add their input to their
    output; one that is added before the activation needs `kernels.elementwise`.

    Triton answers in the layout of `x`. Channels-last is read where it is. Channels-first is read
    where it is for kernels of up to 3 x 3 and for small maps and batches; else it is copied to
    channels-last and the result back, which is two passes over memory: cast networks with
    `.to(memory_format=torch.channels_last)`. Other strides cost a copy too.

    Args:
        x: Input, `[B, C, H, W]`.
        weight: One kernel a channel, `[C, 1, R, K]`, R and K odd from 1 to 31, dtype and device of
            `x`.
        bias: One value a channel, `[C]`, dtype and device of `x`; None adds nothing.
        residual: Shape of the output, dtype and device of `x`; None adds nothing.
        stride: Step between outputs, in pixels; at least 1.
        dilation: Step between kernel taps, in pixels; at least 1.
        activation: A name in `ACTIVATIONS`.
        backend: `plain` is torch. `triton` insists on the Triton kernel. `auto` takes the kernel
            for CUDA tensors that it serves and torch for everything else.

    Returns:
        `[B, C, ceil(H / s), ceil(W / s)]` in the dtype of `x`. A batch of 0 gives an empty tensor.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    _check(x, weight, bias, residual, stride, dilation, activation, backend)
    module = chosen(
        backend,
        "kernels.depthwise_conv_triton",
        lambda found: _refusal(x, weight, dilation, found),
        _SERVED,
        {"x": x, "weight": weight},
    )
    if module is not None:
        result: Tensor = module.depthwise_conv2d_triton(
            x, weight, bias, residual, stride=stride, dilation=dilation, activation=activation
        )
        return result
    return depthwise_conv2d_plain(
        x, weight, bias, residual, stride=stride, dilation=dilation, activation=activation
    )


def depthwise_conv2d_plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
    activation: str = "none",
) -> Tensor:
    """Say in plain torch what `depthwise_conv2d` means; the arguments are its own, unchecked.

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
            padding=[dilation * (taps - 1) // 2 for taps in weight.shape[2:]],
            dilation=dilation,
            groups=x.shape[1],
        )
        y = ACTIVATIONS[activation](y)
        return (y if residual is None else y + residual.to(wide)).to(x.dtype)


def _refusal(x: Tensor, weight: Tensor, dilation: int, module: ModuleType | None) -> str | None:
    """Say why the Triton kernel cannot take these tensors; None if it can."""
    if reason := refusal(x, module):
        return reason
    # Offsets inside one image are 32-bit, those between images 64-bit. Blocks may overhang.
    reach = dilation * (max(weight.shape[2:]) - 1) + 256
    if (x.shape[2] + reach) * (x.shape[3] + reach) * x.shape[1] >= 2**31:
        return "an image of 2^31 or more elements"
    return None


def _check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    dilation: int,
    activation: str,
    backend: str,
) -> None:
    """Raise ValueError unless the arguments are as `depthwise_conv2d` describes them."""
    check_name("activation", activation, ACTIVATIONS)
    check_name("backend", backend, BACKENDS)
    for name, step in (("stride", stride), ("dilation", dilation)):
        if step < 1:
            raise ValueError(f"{name} must be at least 1 pixel; got {step}")
    if x.dim() != 4 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(
            "x must be a floating-point [batch, channels, height, width] with at least one "
            f"channel, row and column; got {describe(x)}. A single image needs x[None]."
        )
    channels = x.shape[1]
    if weight.dim() != 4 or weight.shape[:2] != (channels, 1):
        raise ValueError(
            f"weight must be [{channels}, 1, R, K], one kernel for each channel of x; got "
            f"{list(weight.shape)} for x {list(x.shape)}. A weight of more than one input channel "
            "belongs to a convolution that is not depthwise."
        )
    if not set(weight.shape[2:]) <= set(KERNEL_SIZES):
        raise ValueError(
            f"weight must have a kernel of odd sizes from {KERNEL_SIZES[0]} to "
            f"{KERNEL_SIZES[-1]}; got {list(weight.shape)}"
        )
    if bias is not None and bias.shape != (channels,):
        raise ValueError(
            f"bias must be [{channels}], one value for each channel of x; got "
            f"{list(bias.shape)} for x {list(x.shape)}"
        )
    wanted = (*x.shape[:2], *((size - 1) // stride + 1 for size in x.shape[2:]))
    if residual is not None and residual.shape != wanted:
        raise ValueError(
            f"residual must be {list(wanted)}, like the output; got {list(residual.shape)} for x "
            f"{list(x.shape)} and stride {stride}"
        )
    check_like(x, (("weight", weight), ("bias", bias), ("residual", residual)))
