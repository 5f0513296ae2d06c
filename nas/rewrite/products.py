"""Layers that multiply by a weight: convolutions and the matrix product.

Dimension letters: B batch, C channels, H height, W width, N output channels, K kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kernels.dilated_reparam import fold_batch_norm
from kernels.library import OPERATORS
from nas.rewrite.layer import Layer, kept


class Product(Layer):
    """A layer that multiplies by a weight, `[N, ...]`."""

    folds: ClassVar[bool] = True
    images: ClassVar[bool] = True
    """Whether the channels of the output are the second of four dimensions, else the last."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = kept(weight)
        self.bias = None if bias is None else kept(bias)

    def fold(self, norm: _BatchNorm) -> None:
        """Take in the batch norm behind this layer."""
        self.weight, self.bias = folded(self.weight, self.bias, norm)

    def scale(self, factor: Tensor | None, offset: Tensor | None, *, images: bool) -> bool:
        """Take in a factor and an offset of each channel; say whether that could be done.

        Args:
            factor: `[N]`; None is 1.
            offset: `[N]`; None is 0.
            images: whether they are applied to the second of four dimensions, else to the last.
        """
        # In float16 a small factor, as of a young network, would leave nothing of the weight.
        if images is not self.images or self.weight.dtype is torch.float16:
            return False
        weight, bias = self.weight.detach(), self.bias
        if factor is not None:
            along = factor.detach().reshape(-1, *[1] * (weight.dim() - 1))
            self.weight = kept(weight * along)
            bias = None if bias is None else kept(bias.detach() * factor.detach())
        if offset is not None:
            bias = kept(offset.detach() + (0 if bias is None else bias.detach()))
        self.bias = bias
        return True


class PointwiseConv(Product):
    """`[B, C, H, W]` to `[B, N, H, W]`."""

    operation: ClassVar[str] = "pointwise_conv2d"

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Activation of the convolution, plus the residual."""
        return OPERATORS[self.operation](
            x, self.weight, self.bias, residual, activation=self.activation
        )


class DepthwiseConv(Product):
    """`[B, C, H, W]` to `[B, C, H', W']`, padded to "same" size."""

    operation: ClassVar[str] = "depthwise_conv2d"

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int, dilation: int) -> None:
        super().__init__(weight, bias)
        self.stride, self.dilation = stride, dilation

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Activation of the convolution, plus the residual."""
        return OPERATORS[self.operation](
            *(x, self.weight, self.bias, residual),
            stride=self.stride,
            dilation=self.dilation,
            activation=self.activation,
        )


class DenseConv(Product):
    """`[B, C, H, W]` to `[B, N, H', W']`."""

    operation: ClassVar[str] = "dense_conv2d"

    def __init__(
        self, weight: Tensor, bias: Tensor | None, stride: int, padding: int, dilation: int
    ) -> None:
        super().__init__(weight, bias)
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Activation of the convolution, plus the residual."""
        return OPERATORS[self.operation](
            *(x, self.weight, self.bias, residual),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            activation=self.activation,
        )


class Gemm(Product):
    """`[..., K]` to `[..., N]`."""

    operation: ClassVar[str] = "gemm"
    folds: ClassVar[bool] = False
    images: ClassVar[bool] = False

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Activation of the product, plus the residual."""
        return OPERATORS[self.operation](
            x, self.weight, self.bias, residual, activation=self.activation
        )


class Residual(nn.Module):
    """The input added to what layers in a row make of it, by the last of them."""

    def __init__(self, stages: Sequence[nn.Module], last: Product) -> None:
        super().__init__()
        self.stages, self.last = nn.ModuleList(stages), last

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that the layers keep."""
        y = x
        for stage in self.stages:
            y = stage(y)
        z: Tensor = self.last(y, x)
        return z


def folded(
    weight: Tensor, bias: Tensor | None, norm: _BatchNorm
) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight and bias of the layer that also does the batch norm behind it."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean = norm.running_mean
    new = fold_batch_norm(
        weight.detach(),
        None if bias is None else bias.detach(),
        mean=mean,
        variance=norm.running_var,
        scale=torch.ones_like(mean) if norm.weight is None else norm.weight.detach(),
        shift=torch.zeros_like(mean) if norm.bias is None else norm.bias.detach(),
        eps=norm.eps,
    )
    return kept(new[0]), kept(new[1])


def torch_conv(conv: nn.Conv2d, norm: _BatchNorm) -> nn.Conv2d:
    """Torch's own convolution with the batch norm behind it folded in."""
    new = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        groups=conv.groups,
        padding_mode=conv.padding_mode,
        device="meta",
    )
    new.weight, new.bias = folded(conv.weight, conv.bias, norm)
    return new.eval()
