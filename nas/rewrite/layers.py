"""Layers that are no products: norms, gates and pools, and the Inception depthwise convolution.

Dimension letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from kernels.library import OPERATORS
from nas.rewrite.layer import Layer, kept, maybe


class LayerNorm(Layer):
    """Over the channels: the last dimension, or that of images where `images_first`."""

    operation: ClassVar[str] = "layer_norm"

    def __init__(self, norm: nn.LayerNorm, images_first: bool) -> None:
        super().__init__()
        self.weight, self.bias = maybe(norm.weight), maybe(norm.bias)
        self.eps, self.images_first = norm.eps, images_first

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return OPERATORS[self.operation](
            *(x, self.weight, self.bias),
            eps=self.eps,
            channel_dim=1 if self.images_first and x.dim() == 4 else -1,
            activation=self.activation,
        )


class RMSNorm(Layer):
    """Over the channels: the last dimension, or that of images where `images_first`."""

    operation: ClassVar[str] = "rms_norm"

    def __init__(self, norm: nn.RMSNorm, eps: float, images_first: bool) -> None:
        super().__init__()
        self.weight, self.eps, self.images_first = maybe(norm.weight), eps, images_first

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return OPERATORS[self.operation](
            *(x, self.weight),
            eps=self.eps,
            channel_dim=1 if self.images_first and x.dim() == 4 else -1,
            activation=self.activation,
        )


class BatchNorm(Layer):
    """With the running statistics, for norms that nothing before them can take in."""

    operation: ClassVar[str] = "batch_norm"

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.register_buffer("mean", norm.running_mean)
        self.register_buffer("variance", norm.running_var)
        self.weight, self.bias = maybe(norm.weight), maybe(norm.bias)
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        return OPERATORS[self.operation](
            *(x, self.mean, self.variance, self.weight, self.bias),
            eps=self.eps,
            activation=self.activation,
        )


class SqueezeExcite(Layer):
    """Channels scaled by what two layers make of their means; sigmoid gate."""

    operation: ClassVar[str] = "squeeze_excite"
    fuses: ClassVar[bool] = False

    def __init__(self, squeeze: nn.Conv2d, excite: nn.Conv2d, activation: str) -> None:
        super().__init__()
        assert squeeze.bias is not None
        assert excite.bias is not None
        self.squeeze, self.squeeze_bias = kept(squeeze.weight.flatten(1)), kept(squeeze.bias)
        self.excite, self.excite_bias = kept(excite.weight.flatten(1)), kept(excite.bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        return OPERATORS[self.operation](
            *(x, self.squeeze, self.squeeze_bias, self.excite, self.excite_bias),
            activation=self.activation,
        )


class EfficientChannelAttention(Layer):
    """Channels scaled by what a short convolution makes of their means."""

    operation: ClassVar[str] = "eca"
    fuses: ClassVar[bool] = False

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self.weight = kept(conv.weight.flatten())

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        return OPERATORS[self.operation](x, self.weight)


class InceptionDepthwise(Layer):
    """A square kernel, two bands and the identity, in one launch."""

    operation: ClassVar[str] = "inception_depthwise_conv2d"
    fuses: ClassVar[bool] = False

    def __init__(self, square: nn.Conv2d, row: nn.Conv2d, column: nn.Conv2d) -> None:
        super().__init__()
        self.square, self.row, self.column = square, row, column

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        branches = (self.square, self.row, self.column)
        return OPERATORS[self.operation](
            x, *(conv.weight for conv in branches), *(conv.bias for conv in branches)
        )


class Attention(Layer):
    """Scaled dot-product attention, each head for itself."""

    operation: ClassVar[str] = "attention"
    fuses: ClassVar[bool] = False

    def __init__(self, causal: bool, scale: float | None) -> None:
        super().__init__()
        self.causal, self.scale = causal, scale

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """`[B, H, N, E]`, `[B, H, M, E]` twice and a mask that spreads to `[B, H, N, M]`."""
        if mask is not None:
            if mask.dtype == torch.bool:
                mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -torch.inf)
            mask = mask[(None,) * (4 - mask.dim())].expand(-1, -1, q.shape[2], k.shape[2])
        return OPERATORS[self.operation](q, k, v, mask, causal=self.causal, scale=self.scale)


class GlobalPool(Layer):
    """Mean over all pixels."""

    operation: ClassVar[str] = "global_average_pool"
    fuses: ClassVar[bool] = False

    def __init__(self, keep: bool) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C]`, or to `[B, C, 1, 1]` where `keep`."""
        y: Tensor = OPERATORS[self.operation](x)
        return y[:, :, None, None] if self.keep else y


class GeneralisedMeanPool(Layer):
    """Generalised mean over all pixels."""

    operation: ClassVar[str] = "gem_pool"
    fuses: ClassVar[bool] = False

    def __init__(self, exponent: Tensor) -> None:
        super().__init__()
        self.exponent = kept(exponent)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C]`."""
        return OPERATORS[self.operation](x, self.exponent, eps=1e-6)


class MaxPool(Layer):
    """Largest value of each window."""

    operation: ClassVar[str] = "max_pool2d"
    fuses: ClassVar[bool] = False

    def __init__(self, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, H', W']`."""
        return OPERATORS[self.operation](x, self.kernel, stride=self.stride, padding=self.padding)


class AveragePool(Layer):
    """Mean of each window."""

    operation: ClassVar[str] = "average_pool2d"
    fuses: ClassVar[bool] = False

    def __init__(self, kernel: int, stride: int, padding: int, count_padding: bool) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.count_padding = count_padding

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, H', W']`."""
        return OPERATORS[self.operation](
            *(x, self.kernel),
            stride=self.stride,
            padding=self.padding,
            count_include_pad=self.count_padding,
        )
