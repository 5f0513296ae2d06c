"""Layers that mix or gate channels, and the classifier.

Dimension letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from searchspace.primitives.base import Parameter, Primitive, Values
from searchspace.primitives.convolution import conv2d
from searchspace.shapes import ShapeError, TensorSpec, vector

NON_LINEARITIES: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
ACTIVATIONS = ("gelu", "silu", "relu")
"""Those that stand between the layers of an MLP."""


class Activation(nn.Module):
    """A point-wise non-linearity by name."""

    def __init__(self, act: str) -> None:
        super().__init__()
        self.act = NON_LINEARITIES[act]()

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        y: Tensor = self.act(x)
        return y


class Linear(nn.Module):
    """Linear layer with bias over the channels of each position, started as in ViT."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, out)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]`, `[B, N, D]` or `[B, C]` to the same with `out` channels."""
        y: Tensor
        if x.dim() == 4:
            y = self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        else:
            y = self.linear(x)
        return y


class InvertedMLP(nn.Module):
    """Point-wise expansion, activation, point-wise projection (ConvNeXt, arXiv 2201.03545)."""

    def __init__(self, channels: int, ratio: int, act: str) -> None:
        super().__init__()
        self.expand = conv2d(channels, channels * ratio, 1)
        self.act = Activation(act)
        self.project = conv2d(channels * ratio, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        y: Tensor = self.project(self.act(self.expand(x)))
        return y


class PlainMLP(nn.Module):
    """Activation and one point-wise layer of the same width."""

    def __init__(self, channels: int, act: str) -> None:
        super().__init__()
        self.act = Activation(act)
        self.mix = conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        y: Tensor = self.mix(self.act(x))
        return y


class SqueezeExcite(nn.Module):
    """Channels weighted by what a small network makes of their means (Hu et al., 1709.01507)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(8, channels // reduction)
        self.squeeze = conv2d(channels, hidden, 1)
        self.excite = conv2d(hidden, channels, 1)
        self.act, self.gate = nn.ReLU(), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        weights: Tensor = x.mean((2, 3), keepdim=True)
        weights = self.gate(self.excite(self.act(self.squeeze(weights))))
        return x * weights


class EfficientChannelAttention(nn.Module):
    """Channels weighted by a short convolution along their means (Wang et al., 1910.03151).

    The kernel is the odd number next to (log2 C + 1) / 2, equation 12 there.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = int(abs((math.log2(channels) + 1) / 2))
        size += 1 - size % 2
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        weights: Tensor = self.gate(self.conv(x.mean((2, 3)).unsqueeze(1))).squeeze(1)
        return x * weights[:, :, None, None]


class Classifier(nn.Module):
    """Linear layer to the classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C]` to `[B, classes]`."""
        y: Tensor = self.linear(x)
        return y


def _image(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"a channel mixer needs an image; got {spec}")
    return spec


def _classes(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "vector":
        raise ShapeError(f"classifier needs a vector, so pool first; got {spec}")
    return vector(int(values["classes"]))


def _widened(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return spec.with_channels(int(values["out"]))


_ACT = Parameter(name="act", words=ACTIVATIONS)

PRIMITIVES = (
    Primitive(
        name="activation",
        summary="point-wise non-linearity",
        module=Activation,
        parameters=(Parameter(name="act", words=tuple(NON_LINEARITIES)),),
        arguments=lambda spec, v: {"act": v["act"]},
        total=True,
    ),
    Primitive(
        name="linear",
        summary="linear layer over the channels of each position",
        module=Linear,
        parameters=(Parameter(name="out"),),
        arguments=lambda spec, v: {"channels": spec.channels, "out": v["out"]},
        result=_widened,
        total=True,
    ),
    Primitive(
        name="inverted",
        summary="expansion, activation, projection, all point-wise (ConvNeXt, arXiv 2201.03545)",
        module=InvertedMLP,
        parameters=(Parameter(name="ratio"), _ACT),
        arguments=lambda spec, v: {
            "channels": spec.channels,
            "ratio": v["ratio"],
            "act": v["act"],
        },
        result=_image,
        needs=(conv2d, Activation),
    ),
    Primitive(
        name="plain",
        summary="activation and one point-wise layer",
        module=PlainMLP,
        parameters=(_ACT,),
        arguments=lambda spec, v: {"channels": spec.channels, "act": v["act"]},
        result=_image,
        needs=(conv2d, Activation),
    ),
    Primitive(
        name="squeeze_excite",
        summary="channels weighted by a small network of their means (arXiv 1709.01507)",
        module=SqueezeExcite,
        parameters=(Parameter(name="reduction"),),
        arguments=lambda spec, v: {"channels": spec.channels, "reduction": v["reduction"]},
        result=_image,
        needs=(conv2d,),
    ),
    Primitive(
        name="eca",
        summary="channels weighted by a short convolution of their means (arXiv 1910.03151)",
        module=EfficientChannelAttention,
        arguments=lambda spec, v: {"channels": spec.channels},
        result=_image,
    ),
    Primitive(
        name="classifier",
        summary="linear layer to the classes",
        module=Classifier,
        parameters=(Parameter(name="classes"),),
        arguments=lambda spec, v: {"channels": spec.channels, "classes": v["classes"]},
        result=_classes,
    ),
)
