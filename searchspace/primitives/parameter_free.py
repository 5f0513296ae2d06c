"""Layers without parameters that mix space: pooling and shift.

Dimension letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Parameter, Primitive, Values
from searchspace.shapes import ShapeError, TensorSpec, vector


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


def _pooled(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"a pool needs an image; got {spec}")
    return spec


def _shifted(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image" or spec.channels < 5:
        raise ShapeError(f"shift needs an image of 5 channels or more; got {spec}")
    return spec


def _to_vector(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"global_pool needs an image; got {spec}")
    return vector(spec.channels)


_ODD = Parameter(name="kernel", least=3, odd=True)

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
)
