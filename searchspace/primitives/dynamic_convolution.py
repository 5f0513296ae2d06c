"""Convolutions whose kernels or gates come from their input.

Dimension letters: B batch, C channels, H height, W width, G groups or heads that share a kernel,
k kernel. All map `[B, C, H, W]` to the same shape, and none adds its input: `residual` does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Parameter, Primitive, Values
from searchspace.primitives.convolution import conv2d
from searchspace.shapes import ShapeError, TensorSpec


def windowed_sum(x: Tensor, weights: Tensor, kernel: int) -> Tensor:
    """A sum over each pixel's window with weights of the pixel's own.

    y[g·c, h, w] = Σ weights[g, ij, h, w] · x[g·c, h + i - k // 2, w + j - k // 2], zeros outside.

    Args:
        x: `[B, C, H, W]`.
        weights: `[B, H, W, G, k²]`; C / G channels in a row share one of them.
        kernel: k, odd.

    Returns:
        `[B, C, H, W]`, channels-last in memory.
    """
    groups, half = weights.shape[3], kernel // 2
    rows = F.pad(x.permute(0, 2, 3, 1), (0, 0, half, half, half, half))
    # Views of every window: [B, H, W, C, k, k] without a copy.
    windows = rows.unfold(1, kernel, 1).unfold(2, kernel, 1)
    windows = windows.reshape(*x.shape[:1], *x.shape[2:], groups, -1, kernel**2)
    y = torch.matmul(windows, weights.unsqueeze(-1)).flatten(3)
    return y.permute(0, 3, 1, 2)


class LSConv(nn.Module):
    """LS convolution: a large kernel looks, and decides with what small kernel to aggregate.

    Wang et al., LSNet (arXiv 2503.23135), section 3.2. Perception: point-wise to C / 2, depthwise
    7 × 7, point-wise, point-wise to the weights of a 3 × 3 kernel for each group of 8 channels,
    normalised by groups; batch norms and ReLUs between as in the authors' code. Aggregation: each
    pixel's window summed with those weights. Channels of a group lie side by side; in the authors'
    kernel they are C / 8 apart, which is the same up to an order of channels. The batch norm and
    the skip of their layer are left to the grammar.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden, groups = channels // 2, channels // 8
        self.perceive = nn.Sequential(
            conv2d(channels, hidden, 1, bias=0),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            conv2d(hidden, hidden, 7, groups=hidden, bias=0),
            nn.BatchNorm2d(hidden),
            conv2d(hidden, hidden, 1, bias=0),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            conv2d(hidden, 9 * groups, 1),
            nn.GroupNorm(groups, 9 * groups),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        weights = self.perceive(x).permute(0, 2, 3, 1)
        return windowed_sum(x, weights.reshape(*weights.shape[:3], -1, 9), 3)


class GatedRecursiveConv(nn.Module):
    """gⁿConv: features gated again and again by parts of one depthwise convolution.

    Rao et al., HorNet (arXiv 2207.14284), section 3.1: with p₀ and q₀ … qₙ₋₁ the parts of a
    point-wise layer to 2C, q through a depthwise 7 × 7, widths C / 2ⁿ⁻¹ … C (equation 3.5), and
    g₀ the identity: pₖ₊₁ = fₖ(qₖ) ⊙ gₖ(pₖ) / α (equation 3.3), then a point-wise layer. α = 3 as
    in their models.
    """

    def __init__(self, channels: int, order: int) -> None:
        super().__init__()
        self.sizes = [channels >> step for step in reversed(range(order))]
        self.enter = conv2d(channels, 2 * channels, 1)
        self.spatial = conv2d(sum(self.sizes), sum(self.sizes), 7, groups=sum(self.sizes))
        self.widen = nn.ModuleList(conv2d(size, 2 * size, 1) for size in self.sizes[:-1])
        self.leave = conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        p, q = torch.split(self.enter(x), [self.sizes[0], sum(self.sizes)], dim=1)
        gates = torch.split(self.spatial(q) / 3, self.sizes, dim=1)
        p = p * gates[0]
        for widen, gate in zip(self.widen, gates[1:], strict=True):
            p = widen(p) * gate
        y: Tensor = self.leave(p)
        return y


class DynamicMixer(nn.Module):
    """Kernels of each pixel made from how it relates to 7 × 7 regions of the whole image.

    Lou & Yu, OverLoCK (arXiv 2502.20087), section 3.3 (ContMix): affinities between the pixels'
    queries and the keys of 49 pooled regions, for each of G heads, become by one linear layer the
    weights of a k × k and a 5 × 5 kernel, soft-maxed; the half of the channels is mixed by the
    small and the other by the large one; a point-wise layer with batch norm mixes all.

    Departs from the paper in three ways: the keys come from the input, where OverLoCK has a second,
    top-down one; windows at the border see zeros, where its library moves them inwards, so that the
    bias for relative positions is k × k; its gate and its parallel dilated convolution are left to
    the grammar.
    """

    def __init__(self, channels: int, kernel: int, heads: int) -> None:
        super().__init__()
        self.kernel, self.heads = kernel, heads
        hidden = channels // 2
        self.query = nn.Sequential(conv2d(channels, hidden, 1, bias=0), nn.BatchNorm2d(hidden))
        self.key = nn.Sequential(
            nn.AdaptiveAvgPool2d(7), conv2d(channels, hidden, 1, bias=0), nn.BatchNorm2d(hidden)
        )
        self.weigh = nn.Linear(49, 25 + kernel**2)
        self.places = nn.Parameter(torch.empty(heads, 25 + kernel**2))
        self.mix = nn.Sequential(conv2d(channels, channels, 1, bias=0), nn.BatchNorm2d(channels))
        nn.init.trunc_normal_(self.places, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        batch, channels, height, width = x.shape
        size = channels // 2 // self.heads
        query = self.query(x).permute(0, 2, 3, 1).reshape(batch, -1, self.heads, size)
        key = self.key(x).flatten(2).reshape(batch, self.heads, size, 49)
        affinity = torch.matmul(query.transpose(1, 2), key) * (channels / self.heads) ** -0.5
        weights = self.weigh(affinity).transpose(1, 2) + self.places
        weights = weights.reshape(batch, height, width, self.heads, -1)
        small, large = torch.split(weights, [25, self.kernel**2], dim=-1)
        first, second = x.chunk(2, dim=1)
        mixed = (
            windowed_sum(first, small.softmax(-1), 5),
            windowed_sum(second, large.softmax(-1), self.kernel),
        )
        y: Tensor = self.mix(torch.cat(mixed, dim=1))
        return y


def _multiple(spec: TensorSpec, name: str, of: int) -> TensorSpec:
    if spec.mode != "image" or spec.channels % of:
        raise ShapeError(f"{name} needs an image with a multiple of {of} channels; got {spec}")
    return spec


def _groups_of_eight(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return _multiple(spec, "ls_conv", 8)


def _halved(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return _multiple(spec, "gated_recursive_conv", 2 ** (int(values["order"]) - 1))


def _heads(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return _multiple(spec, "dynamic_mixer", 2 * int(values["heads"]))


PRIMITIVES = (
    Primitive(
        name="ls_conv",
        summary="a large kernel finds the small one that aggregates (LSNet, arXiv 2503.23135)",
        module=LSConv,
        arguments=lambda spec, v: {"channels": spec.channels},
        result=_groups_of_eight,
        needs=(conv2d, windowed_sum),
    ),
    Primitive(
        name="gated_recursive_conv",
        summary="features gated again and again by a convolution (HorNet, arXiv 2207.14284)",
        module=GatedRecursiveConv,
        parameters=(Parameter(name="order", choices=(1, 2, 3, 4, 5)),),
        arguments=lambda spec, v: {"channels": spec.channels, "order": v["order"]},
        result=_halved,
        needs=(conv2d,),
    ),
    Primitive(
        name="dynamic_mixer",
        summary="kernels of each pixel from its relation to the whole (OverLoCK, arXiv 2502.20087)",
        module=DynamicMixer,
        parameters=(Parameter(name="kernel", least=3, odd=True), Parameter(name="heads")),
        arguments=lambda spec, v: {
            "channels": spec.channels,
            "kernel": v["kernel"],
            "heads": v["heads"],
        },
        result=_heads,
        needs=(conv2d, windowed_sum),
    ),
)
