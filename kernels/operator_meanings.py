"""What the operators of `kernels.library` compute, in ordinary torch operations.

In the dtype of the input and without a cast, where the plain versions of the operations widen to
float32 first: this is what a runtime would launch anyway, for shapes, fake tensors and tracers.
Arguments and their defaults are those of the operators; nothing is checked.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kernels.backend import ACTIVATIONS


def _finished(y: Tensor, activation: str, residual: Tensor | None = None) -> Tensor:
    y = ACTIVATIONS[activation](y)
    return y if residual is None else y + residual


def depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
    activation: str = "none",
) -> Tensor:
    """`[B, C, H, W]` with a kernel for each channel."""
    padding = [dilation * (taps - 1) // 2 for taps in weight.shape[2:]]
    y = functional.conv2d(x, weight, bias, stride, padding, dilation, x.shape[1])
    return _finished(y, activation, residual)


def dense(
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
    """`[B, C, H, W]` to `[B, N, H', W']`; a kernel of one pixel is a pointwise convolution."""
    y = functional.conv2d(x, weight, bias, stride, padding, dilation)
    return _finished(y, activation, residual)


def gemm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
) -> Tensor:
    """`[..., K]` to `[..., N]`."""
    return _finished(functional.linear(x, weight, bias), activation, residual)


def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    channel_dim: int = -1,
    activation: str = "none",
) -> Tensor:
    """Over the channels of each position."""
    rows = x.movedim(channel_dim, -1)
    y = functional.layer_norm(rows, rows.shape[-1:], weight, bias, eps)
    return _finished(y.movedim(-1, channel_dim), activation)


def rms_norm(
    x: Tensor,
    weight: Tensor | None = None,
    *,
    eps: float = 1e-6,
    channel_dim: int = -1,
    activation: str = "none",
) -> Tensor:
    """Over the channels of each position."""
    rows = x.movedim(channel_dim, -1)
    y = functional.rms_norm(rows, rows.shape[-1:], weight, eps)
    return _finished(y.movedim(-1, channel_dim), activation)


def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    activation: str = "none",
) -> Tensor:
    """With known statistics."""
    y = functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)
    return _finished(y, activation)


def squeeze_excite(
    x: Tensor,
    squeeze_weight: Tensor,
    squeeze_bias: Tensor,
    excite_weight: Tensor,
    excite_bias: Tensor,
    *,
    activation: str = "relu",
) -> Tensor:
    """Channels scaled by what two layers make of their means."""
    hidden = functional.linear(x.mean((2, 3)), squeeze_weight, squeeze_bias)
    gates = functional.linear(ACTIVATIONS[activation](hidden), excite_weight, excite_bias)
    return x * gates.sigmoid()[:, :, None, None]


def eca(x: Tensor, weight: Tensor) -> Tensor:
    """Channels scaled by what a short convolution makes of their means."""
    means = x.mean((2, 3)).unsqueeze(1)
    gates = functional.conv1d(means, weight[None, None], padding=weight.shape[0] // 2)
    return x * gates.sigmoid().squeeze(1)[:, :, None, None]


def gem_pool(x: Tensor, exponent: Tensor, *, eps: float = 1e-6) -> Tensor:
    """`[B, C, H, W]` to `[B, C]`."""
    powers: Tensor = (x.clamp(min=eps) ** exponent).mean((2, 3))
    return powers ** (1 / exponent)


def inception(
    x: Tensor,
    square_weight: Tensor,
    row_weight: Tensor,
    column_weight: Tensor,
    square_bias: Tensor | None = None,
    row_bias: Tensor | None = None,
    column_bias: Tensor | None = None,
) -> Tensor:
    """Three groups of channels convolved, the rest passed on."""
    group = square_weight.shape[0]
    same, a, b, c = torch.split(x, [x.shape[1] - 3 * group, *[group] * 3], dim=1)
    parts = (
        depthwise(a, square_weight, square_bias),
        depthwise(b, row_weight, row_bias),
        depthwise(c, column_weight, column_bias),
    )
    return torch.cat((same, *parts), dim=1)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """`[B, H, N, E]`; entry b of the batch takes bias b mod B'."""
    if bias is not None and bias.shape[0] not in (1, q.shape[0]):
        bias = bias.repeat(q.shape[0] // bias.shape[0], 1, 1, 1)
    if bias is not None and causal:
        future = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).triu(1)
        bias, causal = bias.masked_fill(future, -torch.inf), False
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, is_causal=causal, scale=scale
    )


def max_pool(x: Tensor, kernel: int, *, stride: int | None = None, padding: int = 0) -> Tensor:
    """Largest value of each window."""
    return functional.max_pool2d(x, kernel, stride, padding)


def average_pool(
    x: Tensor,
    kernel: int,
    *,
    stride: int | None = None,
    padding: int = 0,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window."""
    return functional.avg_pool2d(x, kernel, stride, padding, False, count_include_pad)


def global_average_pool(x: Tensor) -> Tensor:
    """`[B, C, H, W]` to `[B, C]`."""
    return x.mean((2, 3))
