"""Layers without parameters: pooling, shift, permutation, soft-max, identity and zero.

Dimension letters: B batch, C channels, H height, W width, N tokens, D features. The one exception
is the exponent of `GeneralisedMeanPool`, which is learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Parameter, Primitive, Values
from searchspace.shapes import ShapeError, TensorSpec, image, vector, windowed


class MaxPool(nn.Module):
    """Largest value of each window, stride 1 (PfLayer, arXiv 2202.02777)."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        return F.max_pool2d(x, self.kernel, stride=1, padding=self.kernel // 2)


class AveragePool(nn.Module):
    """Mean of each window, stride 1, the border left out (PoolFormer, arXiv 2111.11418)."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        padding = self.kernel // 2
        return F.avg_pool2d(x, self.kernel, stride=1, padding=padding, count_include_pad=False)


class StridedMaxPool(nn.Module):
    """Largest value of each window, at every `stride`-th pixel.

    Odd windows are centred, so that what lies outside does not count; even ones only lie within.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, H', W']`: see `searchspace.shapes.windowed`."""
        padding = self.kernel // 2 if self.kernel % 2 else 0
        return F.max_pool2d(x, self.kernel, stride=self.stride, padding=padding)


class StridedAveragePool(nn.Module):
    """Mean of each window at every `stride`-th pixel, the border left out.

    Odd windows are centred, even ones only lie within.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, H', W']`: see `searchspace.shapes.windowed`."""
        padding = self.kernel // 2 if self.kernel % 2 else 0
        return F.avg_pool2d(
            x, self.kernel, stride=self.stride, padding=padding, count_include_pad=False
        )


class Shift(nn.Module):
    """A twelfth of the channels moves one pixel in each of four directions, zeros come in.

    Wang et al., ShiftViT (arXiv 2201.10801), section 3.2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        part = max(1, channels // 12)
        self.sizes = [part, part, part, part, channels - 4 * part]

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        left, right, up, down, rest = torch.split(x, self.sizes, dim=1)
        moved = (
            F.pad(left, (-1, 1)),
            F.pad(right, (1, -1)),
            F.pad(up, (0, 0, -1, 1)),
            F.pad(down, (0, 0, 1, -1)),
            rest,
        )
        return torch.cat(moved, dim=1)


class GlobalPool(nn.Module):
    """Mean over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C]`."""
        return x.mean((2, 3))


class GeneralisedMeanPool(nn.Module):
    """Generalised mean over all positions, `mean(x^p)^(1/p)`, with a learned p, 3 at first.

    Radenović et al., GeM (arXiv 1711.02512), equation 3, p shared by all channels as there. Values
    below 1e-6 count as 1e-6, as in the authors' code. p = 1 is the mean; large p is the maximum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C]`."""
        powers: Tensor = x.clamp(min=1e-6) ** self.exponent
        y: Tensor = powers.mean((2, 3)) ** (1 / self.exponent)
        return y


class MeanPool(nn.Module):
    """Mean over all positions, whatever the mode; a vector has one position."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]`, `[B, N, D]` or `[B, C]` to `[B, channels]`."""
        if x.dim() == 2:
            return x
        return x.mean((2, 3)) if x.dim() == 4 else x.mean(1)


class Permute(nn.Module):
    """The dimensions in another order: `hwc` makes of C, H, W an image of H channels and so on.

    One of the routing layers of einspace (Ericsson et al., arXiv 2405.20838).
    """

    def __init__(self, order: str) -> None:
        super().__init__()
        letters = "nd" if len(order) == 2 else "chw"
        self.places = [0, *(letters.index(letter) + 1 for letter in order)]

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` or `[B, N, D]` to the same sizes in the order asked for."""
        y = x.permute(self.places)
        return y.contiguous(memory_format=torch.channels_last) if y.dim() == 4 else y


class Softmax(nn.Module):
    """Soft-max over the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]`, `[B, N, D]` or `[B, C]` to the same shape."""
        if x.dim() != 4:
            return x.softmax(-1)
        return x.permute(0, 2, 3, 1).softmax(-1).permute(0, 3, 1, 2)


class Identity(nn.Identity):
    """The input itself."""


class Zero(nn.Module):
    """Zeros in the input's shape: a branch that is cut (NAS-Bench-201, arXiv 2001.00326)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return x * 0


def _pooled(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"a pool needs an image; got {spec}")
    return spec


def _windowed(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    channels, height, width = _pooled(spec, values, inner).shape
    kernel, stride = int(values["kernel"]), int(values["stride"])
    sizes = (windowed(height, kernel, stride), windowed(width, kernel, stride))
    if min(sizes) < 1:
        raise ShapeError(f"a window of {kernel} must fit into the image; got {spec}")
    return image(channels, *sizes)


def _shifted(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image" or spec.channels < 5:
        raise ShapeError(f"shift needs an image of 5 channels or more; got {spec}")
    return spec


def _to_vector(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"a global pool needs an image; got {spec}")
    return vector(spec.channels)


def _mean(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return vector(spec.channels)


def _permuted(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    order = str(values["order"])
    letters, mode = ("nd", "tokens") if len(order) == 2 else ("chw", "image")
    if spec.mode != mode:
        raise ShapeError(f"permute({order}) needs {mode}; got {spec}")
    return TensorSpec(spec.mode, tuple(spec.shape[letters.index(letter)] for letter in order))


_ODD = Parameter(name="kernel", least=3, odd=True)
_WINDOW = (Parameter(name="kernel"), Parameter(name="stride"))

PRIMITIVES = (
    Primitive(
        name="max_pool",
        summary="largest value of each window, stride 1 (PfLayer, arXiv 2202.02777)",
        module=MaxPool,
        parameters=(_ODD,),
        arguments=lambda spec, v: {"kernel": v["kernel"]},
        result=_pooled,
    ),
    Primitive(
        name="average_pool",
        summary="mean of each window, stride 1 (PoolFormer, arXiv 2111.11418)",
        module=AveragePool,
        parameters=(_ODD,),
        arguments=lambda spec, v: {"kernel": v["kernel"]},
        result=_pooled,
    ),
    Primitive(
        name="strided_max_pool",
        summary="largest value of each window, at a stride",
        module=StridedMaxPool,
        parameters=_WINDOW,
        arguments=lambda spec, v: {"kernel": v["kernel"], "stride": v["stride"]},
        result=_windowed,
    ),
    Primitive(
        name="strided_average_pool",
        summary="mean of each window, at a stride",
        module=StridedAveragePool,
        parameters=_WINDOW,
        arguments=lambda spec, v: {"kernel": v["kernel"], "stride": v["stride"]},
        result=_windowed,
    ),
    Primitive(
        name="shift",
        summary="a twelfth of the channels moves in each direction (ShiftViT, arXiv 2201.10801)",
        module=Shift,
        arguments=lambda spec, v: {"channels": spec.channels},
        result=_shifted,
    ),
    Primitive(
        name="global_pool",
        summary="mean over all positions",
        module=GlobalPool,
        arguments=lambda spec, v: {},
        result=_to_vector,
    ),
    Primitive(
        name="generalised_mean_pool",
        summary="generalised mean over all positions, its exponent learned (GeM, arXiv 1711.02512)",
        module=GeneralisedMeanPool,
        arguments=lambda spec, v: {},
        result=_to_vector,
    ),
    Primitive(
        name="mean_pool",
        summary="mean over all positions, whatever the mode",
        module=MeanPool,
        arguments=lambda spec, v: {},
        result=_mean,
        total=True,
    ),
    Primitive(
        name="permute",
        summary="the dimensions in another order (einspace, arXiv 2405.20838)",
        module=Permute,
        parameters=(Parameter(name="order", words=("cwh", "hcw", "hwc", "wch", "whc", "dn")),),
        arguments=lambda spec, v: {"order": v["order"]},
        result=_permuted,
    ),
    Primitive(
        name="softmax",
        summary="soft-max over the channels",
        module=Softmax,
        arguments=lambda spec, v: {},
        total=True,
    ),
    Primitive(
        name="identity",
        summary="the input itself",
        module=Identity,
        arguments=lambda spec, v: {},
        total=True,
    ),
    Primitive(
        name="zero",
        summary="zeros in the input's shape (NAS-Bench-201, arXiv 2001.00326)",
        module=Zero,
        arguments=lambda spec, v: {},
        total=True,
    ),
)
