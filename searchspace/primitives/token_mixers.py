"""Mixers of tokens without attention: along rafts of channels, and as a gate.

Dimension letters: B batch, C channels, H height, W width, N tokens, D features, R rafts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.primitives.tokens import linear, need_tokens
from searchspace.shapes import ShapeError, TensorSpec


class RaftMixer(nn.Module):
    """An MLP along one direction of an image and across a raft of R channels at once.

    Tatsunami & Taki, RaftMLP (arXiv 2108.04384): channels c, c + C/R, c + 2C/R, …
    make a raft; for each raft and each column (vertical) or row (horizontal), its R * H or R * W
    values pass W2 gelu(W1 x). Norm and sum are left to the block around it.
    """

    def __init__(self, length: int, rafts: int, ratio: int, axis: str) -> None:
        super().__init__()
        self.rafts, self.vertical = rafts, axis == "vertical"
        self.expand = linear(rafts * length, rafts * length * ratio)
        self.project = linear(rafts * length * ratio, rafts * length)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        y = torch.unflatten(x, 1, (self.rafts, -1))  # [B, R, C / R, H, W]
        y = y.permute(0, 2, 4, 1, 3) if self.vertical else y.permute(0, 2, 3, 1, 4)
        y = self.project(F.gelu(self.expand(y.flatten(3))))
        y = torch.unflatten(y, 3, (self.rafts, -1))
        # To [B, H, W, R, C / R], as the result is channels-last in memory.
        y = y.permute(0, 4, 2, 3, 1) if self.vertical else y.permute(0, 2, 4, 3, 1)
        return y.contiguous().flatten(3).permute(0, 3, 1, 2)


class GatedMixer(nn.Module):
    """A projection of the tokens, gated by what an MLP-Mixer layer makes of them.

    Abdullah & Aydin, NiNformer (arXiv 2403.02411): y = P(x) * M(x), M(x) = u +
    MLP(LN(u)) along the features, u = x + MLP(LN(x)) along the tokens, both of one hidden width.
    The outer norm, sum and MLP are left to the block around it; there one norm serves both.
    """

    def __init__(self, channels: int, tokens: int, hidden: int) -> None:
        super().__init__()
        self.project = linear(channels, channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.tokens = nn.Sequential(linear(tokens, hidden), nn.GELU(), linear(hidden, tokens))
        self.features = nn.Sequential(linear(channels, hidden), nn.GELU(), linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape."""
        gate = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        gate = gate + self.features(self.norms[1](gate))
        y: Tensor = self.project(x) * gate
        return y


def _rafted(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image" or spec.channels % int(values["rafts"]):
        rafts = values["rafts"]
        raise ShapeError(f"raft_mixer needs an image whose channels {rafts} divides; got {spec}")
    return spec


def _along(spec: TensorSpec, values: Values) -> Arguments:
    length = spec.shape[1] if values["axis"] == "vertical" else spec.shape[2]
    return {"length": length, **values}


def _gated(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return need_tokens(spec, "gated_mixer")


PRIMITIVES = (
    Primitive(
        name="raft_mixer",
        summary="an MLP along a direction and across rafts of channels (RaftMLP, 2108.04384)",
        module=RaftMixer,
        parameters=(
            Parameter(name="rafts"),
            Parameter(name="ratio"),
            Parameter(name="axis", words=("vertical", "horizontal")),
        ),
        arguments=_along,
        result=_rafted,
        needs=(linear,),
    ),
    Primitive(
        name="gated_mixer",
        summary="a projection gated by an MLP-Mixer layer (NiNformer, arXiv 2403.02411)",
        module=GatedMixer,
        parameters=(Parameter(name="hidden"),),
        arguments=lambda spec, v: {
            "channels": spec.channels,
            "tokens": spec.shape[0],
            "hidden": v["hidden"],
        },
        result=_gated,
        needs=(linear,),
    ),
)
