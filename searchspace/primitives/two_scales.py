"""Two sets of tokens side by side, of fine and of coarse patches, whose class tokens meet.

Dimension letters: B batch, C channels, H height, W width, N fine and M coarse tokens, D features
of a fine token, k how many times as many a coarse one has; 2 in every published CrossViT. Both sets
travel in one tensor `[B, N + kM, D]`: the fine tokens, then each coarse token as k rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.primitives.tokens import linear, need_tokens, token_spec
from searchspace.shapes import ShapeError, TensorSpec, image


class ResizeTo(nn.Module):
    """The image at a fixed size, by bicubic interpolation, as in CrossViT's public code."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, size, size]`."""
        if x.shape[2:] == (self.size, self.size):
            return x
        return F.interpolate(x, (self.size, self.size), mode="bicubic", align_corners=False)


class JoinScales(nn.Module):
    """The fine tokens that one body makes of the input, and the coarse ones that another makes."""

    def __init__(self, fine: nn.Module, coarse: nn.Module) -> None:
        super().__init__()
        self.fine, self.coarse = fine, coarse

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to `[B, N + kM, D]`."""
        fine, coarse = self.fine(x), self.coarse(x)
        return torch.cat((fine, coarse.reshape(len(coarse), -1, fine.shape[2])), dim=1)


class Scale(nn.Module):
    """One of both sets of tokens."""

    def __init__(self, tokens: int, times: int, which: str) -> None:
        super().__init__()
        self.tokens, self.times, self.which = tokens, times, which

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N + kM, D]` to `[B, N, D]` or `[B, M, kD]`."""
        if self.which == "fine":
            return x[:, : self.tokens]
        return x[:, self.tokens :].reshape(len(x), -1, self.times * x.shape[2])


class ClassTokenVisit(nn.Module):
    """A class token asks the tokens of the other set and comes back.

    Chen et al., CrossViT (arXiv 2103.14899), section 3.3: f projects the token to the other width,
    y = f(x) + CA(LN([f(x); others])) with the token as the only query, and g projects back. f and g
    are layer norm, GELU and a linear layer, as in the authors' code.
    """

    def __init__(self, channels: int, others: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.there = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6), nn.GELU(), linear(channels, others)
        )
        self.norm = nn.LayerNorm(others, eps=1e-6)
        self.q, self.kv = linear(others, others), linear(others, 2 * others)
        self.project = linear(others, others)
        self.back = nn.Sequential(
            nn.LayerNorm(others, eps=1e-6), nn.GELU(), linear(others, channels)
        )

    def forward(self, token: Tensor, others: Tensor) -> Tensor:
        """`[B, 1, D]` and `[B, M, E]` to `[B, 1, D]`."""
        token = self.there(token)
        y = self.norm(torch.cat((token, others), dim=1))
        parts = (self.q(y[:, :1]), *self.kv(y).chunk(2, dim=-1))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = self.back(token + self.project(mixed))
        return out


class CrossAttention(nn.Module):
    """The class token of each set, its first, exchanges itself with the other set.

    CrossViT (arXiv 2103.14899), figure 4. Both directions start from the same tokens.
    """

    def __init__(self, channels: int, tokens: int, times: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.times = tokens, times
        self.fine = ClassTokenVisit(channels, times * channels, heads)
        self.coarse = ClassTokenVisit(times * channels, channels, heads)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N + kM, D]` to the same shape."""
        fine, rows = x[:, : self.tokens], x[:, self.tokens :]
        coarse = rows.reshape(len(x), -1, self.times * x.shape[2])
        first = self.fine(fine[:, :1], coarse[:, 1:])
        second = self.coarse(coarse[:, :1], fine[:, 1:]).reshape(len(x), self.times, -1)
        return torch.cat((first, fine[:, 1:], second, rows[:, self.times :]), dim=1)


def _resized(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image" or spec.shape[1:] == (1, 1):
        raise ShapeError(f"resize_to needs an image of more than one pixel; got {spec}")
    return image(spec.channels, int(values["size"]), int(values["size"]))


def _joined(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    fine, coarse = inner
    if {fine.mode, coarse.mode} != {"tokens"} or coarse.channels % fine.channels:
        raise ShapeError(
            "the bodies of join_scales must give tokens, the second with a multiple of the "
            f"features of the first; they make {fine} and {coarse} of {spec}"
        )
    rows = coarse.shape[0] * (coarse.channels // fine.channels)
    return token_spec(fine.shape[0] + rows, fine.channels)


def _coarse(spec: TensorSpec, values: Values, name: str) -> int:
    """Number of coarse tokens."""
    times = int(values["times"])
    rows = need_tokens(spec, name).shape[0] - int(values["tokens"])
    if rows < times or rows % times:
        raise ShapeError(
            f"{name} needs {values['tokens']} fine tokens and then {times} rows for each coarse "
            f"one; got {spec}"
        )
    return rows // times


def _parted(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    count = _coarse(spec, values, "scale")
    if values["which"] == "fine":
        return token_spec(int(values["tokens"]), spec.channels)
    return token_spec(count, int(values["times"]) * spec.channels)


def _crossed(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    _coarse(spec, values, "cross_attention")
    if spec.channels % int(values["heads"]):
        raise ShapeError(
            f"cross_attention needs features that {values['heads']} heads divide; got {spec}"
        )
    return spec


def _crossing(spec: TensorSpec, values: Values) -> Arguments:
    return {"channels": spec.channels, **values}


_TOKENS, _TIMES = Parameter(name="tokens"), Parameter(name="times")

PRIMITIVES = (
    Primitive(
        name="resize_to",
        summary="the image at a fixed size (CrossViT, arXiv 2103.14899)",
        module=ResizeTo,
        parameters=(Parameter(name="size"),),
        arguments=lambda spec, v: {"size": v["size"]},
        result=_resized,
    ),
    Primitive(
        name="join_scales",
        summary="fine and coarse tokens side by side (CrossViT, arXiv 2103.14899)",
        module=JoinScales,
        arguments=lambda spec, v: {},
        groups=2,
        result=_joined,
    ),
    Primitive(
        name="scale",
        summary="the fine or the coarse tokens alone (CrossViT, arXiv 2103.14899)",
        module=Scale,
        parameters=(_TOKENS, _TIMES, Parameter(name="which", words=("fine", "coarse"))),
        arguments=lambda spec, v: dict(v),
        result=_parted,
    ),
    Primitive(
        name="cross_attention",
        summary="class tokens attend to the other set of tokens (CrossViT, arXiv 2103.14899)",
        module=CrossAttention,
        parameters=(_TOKENS, _TIMES, Parameter(name="heads")),
        arguments=_crossing,
        result=_crossed,
        needs=(linear, ClassTokenVisit),
    ),
)
