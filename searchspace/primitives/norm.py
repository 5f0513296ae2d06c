"""Normalisation, and scale and offset of channels.

Dimension letters: B batch, C channels, H height, W width, N tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.shapes import ShapeError, TensorSpec


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over `[B, C, H, W]` (Ioffe & Szegedy, arXiv 1502.03167)."""


class LayerNorm(nn.LayerNorm):
    """Layer norm over the channels of images, tokens or vectors (Ba et al., arXiv 1607.06450)."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]`, `[B, N, D]` or `[B, C]` to the same shape."""
        if x.dim() != 4:
            return super().forward(x)
        y = F.layer_norm(
            x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return y.permute(0, 3, 1, 2)


class RMSNorm(nn.RMSNorm):
    """Channels divided by their root mean square (Zhang & Sennrich, arXiv 1910.07467, eq. 4)."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]`, `[B, N, D]` or `[B, C]` to the same shape."""
        if x.dim() != 4:
            return super().forward(x)
        y = F.rms_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.eps)
        return y.permute(0, 3, 1, 2)


class GroupNorm(nn.GroupNorm):
    """Norm over each group of channels of an image (Wu & He, arXiv 1803.08494)."""


class InstanceBatchNorm(nn.Module):
    """Instance norm for the first half of the channels, batch norm for the others.

    Pan et al., IBN-Net (arXiv 1807.09441), figure 3 (IBN-a). Both halves have a scale and a shift.
    An instance norm is a group norm with one channel a group.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.sizes = [half, channels - half]
        self.instance = nn.GroupNorm(half, half)
        self.batch = nn.BatchNorm2d(channels - half)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        first, second = torch.split(x, self.sizes, dim=1)
        return torch.cat((self.instance(first), self.batch(second)), dim=1)


class Bias(nn.Module):
    """A learned offset for each channel, zero at first; for convolutions that have none."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]`, `[B, N, D]` or `[B, C]` to the same shape."""
        return x + (self.bias[:, None, None] if x.dim() == 4 else self.bias)


class LayerScale(nn.Module):
    """A learned factor for each channel, 1e-6 at first (CaiT, arXiv 2103.17239; ConvNeXt)."""

    def __init__(self, channels: int, initial: float = 1e-6) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]`, `[B, N, D]` or `[B, C]` to the same shape."""
        return x * (self.scale[:, None, None] if x.dim() == 4 else self.scale)


def _image(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"this layer needs an image; got {spec}")
    return spec


def _grouped(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    groups = int(values["groups"])
    if _image(spec, values, inner).channels % groups:
        raise ShapeError(f"group_norm needs a multiple of {groups} channels; got {spec}")
    return spec


def _halved(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    channels, height, width = _image(spec, values, inner).shape
    if channels < 2 or height * width < 2:
        raise ShapeError(f"instance_batch_norm needs 2 channels and 2 pixels or more; got {spec}")
    return spec


def _features(spec: TensorSpec, values: Values) -> Arguments:
    return {"num_features": spec.channels}


PRIMITIVES = (
    Primitive(
        name="batch_norm",
        summary="batch norm, folded into the layer before it at inference (arXiv 1502.03167)",
        module=BatchNorm,
        arguments=_features,
        result=_image,
    ),
    Primitive(
        name="layer_norm",
        summary="layer norm over the channels (arXiv 1607.06450), epsilon as in ConvNeXt",
        module=LayerNorm,
        arguments=lambda spec, v: {"normalized_shape": spec.channels, "eps": 1e-6},
        total=True,
    ),
    Primitive(
        name="rms_norm",
        summary="channels divided by their root mean square (arXiv 1910.07467), epsilon 1e-6",
        module=RMSNorm,
        arguments=lambda spec, v: {"normalized_shape": spec.channels, "eps": 1e-6},
        total=True,
    ),
    Primitive(
        name="group_norm",
        summary="norm over each group of channels (arXiv 1803.08494)",
        module=GroupNorm,
        parameters=(Parameter(name="groups"),),
        arguments=lambda spec, v: {"num_groups": v["groups"], "num_channels": spec.channels},
        result=_grouped,
    ),
    Primitive(
        name="instance_batch_norm",
        summary="instance norm for half of the channels, batch norm for half (arXiv 1807.09441)",
        module=InstanceBatchNorm,
        arguments=lambda spec, v: {"channels": spec.channels},
        result=_halved,
    ),
    Primitive(
        name="bias",
        summary="a learned offset for each channel",
        module=Bias,
        arguments=lambda spec, v: {"channels": spec.channels},
        total=True,
    ),
    Primitive(
        name="layer_scale",
        summary="a learned factor for each channel (CaiT, arXiv 2103.17239)",
        module=LayerScale,
        arguments=lambda spec, v: {"channels": spec.channels},
        total=True,
    ),
)
