"""Modules whose forward pass is one operator of `kernels.library`.

Dimension letters: B batch, C channels, H height, W width, N output channels, K kernel.

Parameters are those of the layer that is replaced, the same objects where nothing was folded into
them, without gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kernels.dilated_reparam import fold_batch_norm
from kernels.library import OPERATORS


class Layer(nn.Module):
    """One operator, with an activation behind it where it has one."""

    operation: ClassVar[str]
    """Name among `OPERATORS`."""
    folds: ClassVar[bool] = False
    """Whether it can take in the batch norm behind it."""
    fuses: ClassVar[bool] = True
    """Whether it can take in the activation behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = "none"

    def extra_repr(self) -> str:
        """Shape of the weight and the activation."""
        weight = getattr(self, "weight", None)
        shape = "" if weight is None else f"weight={list(weight.shape)}, "
        return f"{shape}activation={self.activation}" if self.fuses else shape.rstrip(", ")


class Product(Layer):
    """A layer that multiplies by a weight, `[N, ...]`."""

    folds: ClassVar[bool] = True
    images: ClassVar[bool] = True
    """Whether the channels of the output are the second of four dimensions, else the last."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = _kept(weight)
        self.bias = None if bias is None else _kept(bias)

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
            self.weight = _kept(weight * along)
            bias = None if bias is None else _kept(bias.detach() * factor.detach())
        if offset is not None:
            bias = _kept(offset.detach() + (0 if bias is None else bias.detach()))
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


class LayerNorm(Layer):
    """Over the channels: the last dimension, or that of images where `images_first`."""

    operation: ClassVar[str] = "layer_norm"

    def __init__(self, norm: nn.LayerNorm, images_first: bool) -> None:
        super().__init__()
        self.weight, self.bias = _maybe(norm.weight), _maybe(norm.bias)
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
        self.weight, self.eps, self.images_first = _maybe(norm.weight), eps, images_first

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
        self.weight, self.bias = _maybe(norm.weight), _maybe(norm.bias)
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
        self.squeeze, self.squeeze_bias = _kept(squeeze.weight.flatten(1)), _kept(squeeze.bias)
        self.excite, self.excite_bias = _kept(excite.weight.flatten(1)), _kept(excite.bias)
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
        self.weight = _kept(conv.weight.flatten())

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
        self.exponent = _kept(exponent)

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
    return _kept(new[0]), _kept(new[1])


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


def _kept(tensor: Tensor) -> nn.Parameter:
    if isinstance(tensor, nn.Parameter) and not tensor.requires_grad:
        return tensor
    return nn.Parameter(tensor.detach(), requires_grad=False)


def _maybe(tensor: Tensor | None) -> nn.Parameter | None:
    return None if tensor is None else _kept(tensor)
