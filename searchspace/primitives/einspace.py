"""Routing and computation of einspace: windows of images, and layers along the last dimension.

Ericsson et al. (arXiv 2405.20838). Dimension letters: B batch, C channels, H height, W width, N
tokens, D features, K side of a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.shapes import ShapeError, TensorSpec, image, windowed

MOST_WEIGHTS = 9 * 512 * 512
"""Weights of one `LastLinear` at most: those of the widest 3 x 3 convolution of ResNet-18."""


class Unfold(nn.Module):
    """Every window of an image becomes a token, im2col; odd windows are centred, others within."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, N, C * K * K]`, the windows row by row."""
        padding = self.kernel // 2 if self.kernel % 2 else 0
        return F.unfold(x, self.kernel, padding=padding, stride=self.stride).transpose(1, 2)


class Windows(nn.Module):
    """im2col, a body on the windows as tokens, and col2im: a convolution if the body is linear.

    As in the authors' code, col2im lays the tokens out as pixels and sums up nothing.
    """

    def __init__(self, body: nn.Module, kernel: int, stride: int) -> None:
        super().__init__()
        self.body = body
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, D, H', W']`: see `searchspace.shapes.windowed`."""
        kernel, stride = self.kernel, self.stride
        padding = kernel // 2 if kernel % 2 else 0
        height = (x.shape[2] + 2 * padding - kernel) // stride + 1
        columns = F.unfold(x, kernel, padding=padding, stride=stride)
        y: Tensor = self.body(columns.transpose(1, 2))
        y = torch.unflatten(y, 1, (height, -1)).permute(0, 3, 1, 2)
        return y.contiguous(memory_format=torch.channels_last)


class LastLinear(nn.Module):
    """Linear layer with bias along the last dimension: W of an image, else the features."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, out)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, ..., features]` to `[B, ..., out]`."""
        y: Tensor = self.linear(x)
        return y.contiguous(memory_format=torch.channels_last) if y.dim() == 4 else y


class LastSoftmax(nn.Module):
    """Soft-max along the last dimension: W of an image, else the features."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        y = x.softmax(-1)
        return y.contiguous(memory_format=torch.channels_last) if y.dim() == 4 else y


class ModeNorm(nn.Module):
    """Batch norm of an image, layer norm of tokens or a vector, epsilon 1e-5."""

    def __init__(self, channels: int, planar: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels) if planar else nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        y: Tensor = self.norm(x)
        return y


class LearnedPosition(nn.Module):
    """A learned value added to every element, standard normal at first, as in the authors' code."""

    def __init__(self, first: int, second: int = 0, third: int = 0) -> None:
        super().__init__()
        sizes = [size for size in (first, second, third) if size]
        self.embedding = nn.Parameter(torch.randn(1, *sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return x + self.embedding


def _windows(spec: TensorSpec, values: Values) -> tuple[int, int]:
    """Rows and columns of windows."""
    kernel, stride = int(values["kernel"]), int(values["stride"])
    if spec.mode != "image":
        raise ShapeError(f"windows need an image; got {spec}")
    height, width = (windowed(size, kernel, stride) for size in spec.shape[1:])
    if min(height, width) < 1:
        raise ShapeError(f"a window of {kernel} must fit into the image; got {spec}")
    return height, width


def _unfolded(spec: TensorSpec, values: Values) -> TensorSpec:
    height, width = _windows(spec, values)
    return TensorSpec("tokens", (height * width, spec.channels * int(values["kernel"]) ** 2))


def _refolded(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    height, width = _windows(spec, values)
    (out,) = inner
    if out.mode != "tokens" or out.shape[0] != height * width:
        raise ShapeError(
            f"the body of windows must give {height * width} tokens; it makes {out} of {spec}"
        )
    return image(out.channels, height, width)


def _widened(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    features, out = spec.shape[-1], int(values["out"])
    if features * out > MOST_WEIGHTS:
        raise ShapeError(f"last_linear({out}) must hold {MOST_WEIGHTS} weights at most; got {spec}")
    return TensorSpec(spec.mode, (*spec.shape[:-1], out))


def _normed(spec: TensorSpec, values: Values) -> Arguments:
    return {"channels": spec.channels, "planar": spec.mode == "image"}


def _placed(spec: TensorSpec, values: Values) -> Arguments:
    return dict(zip(("first", "second", "third"), spec.shape, strict=False))


_WINDOW = (Parameter(name="kernel"), Parameter(name="stride"))

PRIMITIVES = (
    Primitive(
        name="unfold",
        summary="every window becomes a token, im2col (einspace, arXiv 2405.20838)",
        module=Unfold,
        parameters=_WINDOW,
        arguments=lambda spec, v: {"kernel": v["kernel"], "stride": v["stride"]},
        result=lambda spec, v, inner: _unfolded(spec, v),
    ),
    Primitive(
        name="windows",
        summary="a body on all windows as tokens, im2col to col2im (einspace, arXiv 2405.20838)",
        module=Windows,
        parameters=_WINDOW,
        arguments=lambda spec, v: {"kernel": v["kernel"], "stride": v["stride"]},
        groups=1,
        inside=_unfolded,
        result=_refolded,
    ),
    Primitive(
        name="last_linear",
        summary="linear layer along the last dimension (einspace, arXiv 2405.20838)",
        module=LastLinear,
        parameters=(Parameter(name="out"),),
        arguments=lambda spec, v: {"features": spec.shape[-1], "out": v["out"]},
        result=_widened,
    ),
    Primitive(
        name="last_softmax",
        summary="soft-max along the last dimension (einspace, arXiv 2405.20838)",
        module=LastSoftmax,
        arguments=lambda spec, v: {},
        total=True,
    ),
    Primitive(
        name="mode_norm",
        summary="batch norm of an image, layer norm of tokens (einspace, arXiv 2405.20838)",
        module=ModeNorm,
        arguments=_normed,
        total=True,
    ),
    Primitive(
        name="learned_position",
        summary="a learned value added to every element (einspace, arXiv 2405.20838)",
        module=LearnedPosition,
        arguments=_placed,
        total=True,
    ),
)
