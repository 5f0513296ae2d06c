"""Normalisation and per-channel scale.

Dimension letters: B batch, C channels, H height, W width, N tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Primitive, Values
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


class LayerScale(nn.Module):
    """A learned factor for each channel, 1e-6 at first (CaiT, arXiv 2103.17239; ConvNeXt)."""

    def __init__(self, channels: int, initial: float = 1e-6) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        return x * self.scale[:, None, None]


def _image(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"this layer needs an image; got {spec}")
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
    ),
    Primitive(
        name="layer_scale",
        summary="a learned factor for each channel (CaiT, arXiv 2103.17239)",
        module=LayerScale,
        arguments=lambda spec, v: {"channels": spec.channels},
        result=_image,
    ),
)
