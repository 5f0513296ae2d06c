"""Fewer and wider tokens between the stages of a transformer.

Dimension letters: B batch, N tokens, D features that enter, E features that leave. All layers start
as in ViT's public code: truncated normal of deviation 0.02, biases zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.primitives.tokens import linear, need_tokens, token_spec
from searchspace.shapes import ShapeError, TensorSpec


class ResidualReduction(nn.Module):
    """A quarter of the tokens, with more features, and a way past that has no weights.

    Liao et al., ViT-ResNAS (arXiv 2109.00642), residual spatial reduction: the tokens as an image
    are normalised, convolved by 3 x 3 at stride 2, and get new positions; to them are added the
    means of 2 x 2 tokens, their missing features zero. A class token is normalised and projected,
    and added to itself likewise.
    """

    def __init__(self, channels: int, out: int, size: int, class_token: bool) -> None:
        super().__init__()
        self.size, self.more = size, out - channels
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.reduce = nn.Conv2d(channels, out, 3, stride=2, padding=1)
        nn.init.trunc_normal_(self.reduce.weight, std=0.02)
        assert self.reduce.bias is not None
        nn.init.zeros_(self.reduce.bias)
        self.position = nn.Parameter(torch.zeros(1, (size // 2) ** 2, out))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.project = linear(channels, out) if class_token else None

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to `[B, N / 4, E]`; with a class token `[B, 1 + (N - 1) / 4, E]`."""
        y = self.norm(x)
        first = 0 if self.project is None else 1
        wide: Tensor = self.reduce(self._pixels(y[:, first:])).flatten(2).transpose(1, 2)
        past = F.avg_pool2d(self._pixels(x[:, first:]), 2).flatten(2).transpose(1, 2)
        wide = wide + self.position
        if self.project is not None:
            wide = torch.cat((self.project(y[:, :1]), wide), dim=1)
            past = torch.cat((x[:, :1], past), dim=1)
        return wide + F.pad(past, (0, self.more))

    def _pixels(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, 1, (self.size, self.size)).permute(0, 3, 1, 2)


def _square(spec: TensorSpec) -> tuple[int, bool]:
    """Side of the square that the tokens fill, and whether one more comes before them."""
    count = need_tokens(spec, "residual_reduction").shape[0]
    for size, class_token in ((isqrt(count), False), (isqrt(count - 1), True)):
        if size and size % 2 == 0 and size**2 + class_token == count:
            return size, class_token
    raise ShapeError(
        "residual_reduction needs a square of tokens of an even side, a class token aside; "
        f"got {spec}"
    )


def _reduced(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    size, class_token = _square(spec)
    out = int(values["out"])
    if out < spec.channels:
        raise ShapeError(
            f"residual_reduction must give {spec.channels} features or more, not {out}; got {spec}"
        )
    return token_spec((size // 2) ** 2 + class_token, out)


def _arguments(spec: TensorSpec, values: Values) -> Arguments:
    size, class_token = _square(spec)
    return {
        "channels": spec.channels,
        "out": values["out"],
        "size": size,
        "class_token": class_token,
    }


PRIMITIVES = (
    Primitive(
        name="residual_reduction",
        summary="a quarter of the tokens, wider, beside their means (ViT-ResNAS, arXiv 2109.00642)",
        module=ResidualReduction,
        parameters=(Parameter(name="out"),),
        arguments=_arguments,
        result=_reduced,
        needs=(linear,),
    ),
)
