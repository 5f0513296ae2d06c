"""Layers of particular networks that mix or gate channels, and a hidden layer for vectors.

Dimension letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.primitives.channel import ACTIVATIONS, Activation
from searchspace.primitives.convolution import conv2d
from searchspace.shapes import ShapeError, TensorSpec, vector


class Pointwise(nn.Module):
    """A 1 x 1 convolution of the same width without bias (RepLKNet, arXiv 2203.06717)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = conv2d(channels, channels, 1, bias=0)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        y: Tensor = self.mix(x)
        return y


class ResponseNorm(nn.Module):
    """Global response norm: (scale * n + 1) * x + bias, scale and bias 0 at first.

    Woo et al., ConvNeXt V2 (arXiv 2301.00808), section 3.2: n = g / (mean of g + 1e-6), g the L2
    norm of each channel over the image.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        size = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        response = size / (size.mean(1, keepdim=True) + 1e-6)
        y: Tensor = (self.scale[:, None, None] * response + 1) * x + self.bias[:, None, None]
        return y


class InvertedResponse(nn.Module):
    """Point-wise expansion, activation, global response norm, point-wise projection without bias.

    UniRepLKNet (Ding et al., arXiv 2311.15599) has a batch norm after it in training, ConvNeXt V2
    (Woo et al., arXiv 2301.00808) a bias.
    """

    def __init__(self, channels: int, ratio: int, act: str) -> None:
        super().__init__()
        self.expand = conv2d(channels, channels * ratio, 1)
        self.act = Activation(act)
        self.norm = ResponseNorm(channels * ratio)
        self.project = conv2d(channels * ratio, channels, 1, bias=0)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        y: Tensor = self.project(self.norm(self.act(self.expand(x))))
        return y


class Excite(nn.Module):
    """Squeeze-excite whose hidden width, activation and gate are free.

    EfficientNet (arXiv 1905.11946) and TinyNet have silu, sigmoid and a quarter of the block's
    input, MobileNetV3 (Howard et al., arXiv 1905.02244, section 5.3) relu, hardsigmoid and a
    quarter of the expansion. Hu et al., arXiv 1709.01507.
    """

    def __init__(self, channels: int, hidden: int, act: str, gate: str) -> None:
        super().__init__()
        self.squeeze = conv2d(channels, hidden, 1)
        self.excite = conv2d(hidden, channels, 1)
        self.act = Activation(act)
        self.gate = nn.Hardsigmoid() if gate == "hardsigmoid" else nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        weights: Tensor = x.mean((2, 3), keepdim=True)
        weights = self.gate(self.excite(self.act(self.squeeze(weights))))
        return x * weights


class Hidden(nn.Module):
    """Linear layer to a multiple of the features, and activation (InceptionNeXt, 2303.16900)."""

    def __init__(self, channels: int, ratio: int, act: str) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels * ratio)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)
        self.act = Activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C]` to `[B, ratio * C]`."""
        y: Tensor = self.act(self.linear(x))
        return y


def _image(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"a channel mixer needs an image; got {spec}")
    return spec


def _widened(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "vector":
        raise ShapeError(f"hidden needs a vector, so pool first; got {spec}")
    return vector(spec.channels * int(values["ratio"]))


def _made(spec: TensorSpec, values: Values) -> Arguments:
    return {"channels": spec.channels, **values}


_RATIO = Parameter(name="ratio")
_ACT = Parameter(name="act", words=tuple(ACTIVATIONS))

PRIMITIVES = (
    Primitive(
        name="pointwise",
        summary="1 x 1 convolution of the same width (RepLKNet, arXiv 2203.06717)",
        module=Pointwise,
        arguments=_made,
        result=_image,
        needs=(conv2d,),
    ),
    Primitive(
        name="inverted_response",
        summary="expansion, global response norm, projection (ConvNeXt V2, arXiv 2301.00808)",
        module=InvertedResponse,
        parameters=(_RATIO, _ACT),
        arguments=_made,
        result=_image,
        needs=(conv2d, Activation, ResponseNorm),
    ),
    Primitive(
        name="excite",
        summary="squeeze-excite of any hidden width (MobileNetV3, arXiv 1905.02244)",
        module=Excite,
        parameters=(
            Parameter(name="hidden"),
            _ACT,
            Parameter(name="gate", words=("sigmoid", "hardsigmoid")),
        ),
        arguments=_made,
        result=_image,
        needs=(conv2d, Activation),
    ),
    Primitive(
        name="hidden",
        summary="linear layer and activation for a vector (InceptionNeXt, arXiv 2303.16900)",
        module=Hidden,
        parameters=(_RATIO, _ACT),
        arguments=_made,
        result=_widened,
        needs=(Activation,),
    ),
)
