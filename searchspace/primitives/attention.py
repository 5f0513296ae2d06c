"""Attention: over all tokens, over windows, in linear time, with shared keys, gated by position.

Dimension letters: B batch, C channels, H height, W width, N tokens, D features, E features of a
head, S side of a window or of the square that tokens fill. `heads` must divide the features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.primitives.tokens import linear, need_tokens, side
from searchspace.shapes import ShapeError, TensorSpec


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(E)) V in each head, then a projection.

    Vaswani et al. (arXiv 1706.03762), section 3.2; queries, keys and values have biases as in ViT
    (arXiv 2010.11929), unless `bias` says otherwise, as in CCT (2104.05704).
    """

    def __init__(self, channels: int, heads: int, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = linear(channels, 3 * channels, bias)
        self.project = linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape."""
        parts = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.project(y.transpose(1, 2).flatten(2))
        return out


class WindowAttention(nn.Module):
    """Attention inside of windows of S x S pixels, with a learned bias for each relative position.

    softmax(Q K^T / sqrt(E) + B) V: Liu et al., Swin (arXiv 2103.14030), equation 4, where B's
    entries come from a table of (2S - 1)^2 values a head. As in the authors' code for detection, an
    image that windows do not fill is padded with zeros on the right and at the bottom. Departure:
    windows do not shift between layers; layers that mix space between blocks do their part.
    """

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = linear(channels, 3 * channels)
        self.table = nn.Parameter(torch.zeros(heads, 2 * window - 1, 2 * window - 1))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.project = linear(channels, channels)

    def bias(self) -> Tensor:
        """`[1, heads, S * S, S * S]`: entry (i, j) for key k, l is the table's at i - k, j - l."""
        s = self.window
        # Sliding windows over the table hold all i at one k; they come with k backwards.
        slides = self.table.unfold(1, s, 1).unfold(2, s, 1).flip((1, 2))
        return slides.permute(0, 3, 4, 1, 2).reshape(1, self.heads, s * s, s * s)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        channels, height, width, s = *x.shape[1:], self.window
        rows, columns = -(-height // s), -(-width // s)
        y = x.permute(0, 2, 3, 1)
        if rows * s > height or columns * s > width:
            y = F.pad(y, (0, 0, 0, columns * s - width, 0, rows * s - height))
        y = y.reshape(-1, rows, s, columns, s, channels).transpose(2, 3)
        parts = self.qkv(y.reshape(-1, s * s, channels)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias()).transpose(1, 2)
        y = y.reshape(-1, rows, columns, s, s, channels).transpose(2, 3)
        y = y.reshape(-1, rows * s, columns * s, channels)[:, :height, :width]
        out: Tensor = self.project(y)
        return out.permute(0, 3, 1, 2)


class LinearAttention(nn.Module):
    """phi(Q) (phi(K)^T V) / (phi(Q) sum phi(K)) with phi(x) = elu(x) + 1, in time linear in N.

    Katharopoulos et al. (arXiv 2006.16236), equations 5 to 7; 1e-6 is added to the denominator.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = linear(channels, 3 * channels)
        self.project = linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape."""
        parts = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        numerator = torch.matmul(q, torch.matmul(k.transpose(2, 3), v))
        denominator = torch.matmul(q, k.sum(2, keepdim=True).transpose(2, 3))
        y = numerator / (denominator + 1e-6)
        out: Tensor = self.project(y.transpose(1, 2).flatten(2))
        return out


class GroupedQueryAttention(nn.Module):
    """Attention in which heads / groups heads share each key and value.

    Ainslie et al. (arXiv 2305.13245), section 2.2: `groups` keys and values; 1 is multi-query
    attention, as many as heads the ordinary one. Head h belongs to group h // (heads / groups).
    """

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        self.groups, self.size = groups, channels // heads
        self.q = linear(channels, channels)
        self.kv = linear(channels, 2 * groups * self.size)
        self.project = linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape."""
        count, features = x.shape[1:]
        parts = self.kv(x).chunk(2, dim=-1)
        k, v = (part.unflatten(2, (self.groups, self.size)).transpose(1, 2) for part in parts)
        # Queries of a group's heads stand in a row: they ask the same keys.
        q = self.q(x).unflatten(2, (self.groups, -1, self.size)).permute(0, 2, 3, 1, 4)
        y = F.scaled_dot_product_attention(q.flatten(2, 3), k, v)
        y = torch.unflatten(y, 2, (-1, count)).permute(0, 3, 1, 2, 4).reshape(-1, count, features)
        out: Tensor = self.project(y)
        return out


class GatedPositionalAttention(nn.Module):
    """Attention by content and by position, mixed by a learned gate of each head.

    d'Ascoli et al., ConViT (arXiv 2103.10697), equation 7: A = (1 - s(g)) softmax(Q K^T / sqrt(E))
    + s(g) softmax(v^T r), s the sigmoid and r = (dx, dy, dx^2 + dy^2). Queries, keys and values
    have no biases; the start is that of the authors' code: values pass unchanged, the gates are 1,
    and heads look at the places of a square kernel. A's rows sum to 1 as they are, so that equation
    6 need not normalise, and v^T r is a part of dx plus a part of dy, so that its soft-max is a
    product of two small ones.
    """

    def __init__(self, channels: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.qk = linear(channels, 2 * channels, False)
        self.v = linear(channels, channels, False)
        nn.init.eye_(self.v.weight)
        self.position = linear(3, heads)
        self.gate = nn.Parameter(torch.ones(heads))
        self.project = linear(channels, channels)
        kernel = int(heads**0.5)
        centre = (kernel - 1) / 2
        rows = [(2 * (i - centre), 2 * (j - centre)) for i in range(kernel) for j in range(kernel)]
        with torch.no_grad():
            start = torch.tensor([[x, y, -1.0] for x, y in rows])
            self.position.weight[: len(rows)].copy_(start)

    def by_position(self, v: Tensor) -> Tensor:
        """The values `[B, heads, N, E]` that positional attention takes, in the same shape."""
        places = torch.arange(self.size, device=v.device, dtype=v.dtype)
        step = places - places[:, None]  # [S, S], key less query
        x, y, square = self.position.weight[:, :, None, None].unbind(1)
        # The bias is the same for all keys of a head: the soft-max takes it out again.
        columns = (x * step + square * step**2 + self.position.bias[:, None, None]).softmax(-1)
        rows = (y * step + square * step**2).softmax(-1)
        grid = torch.unflatten(v, 2, (self.size, self.size))
        mixed = torch.matmul(columns[:, None], grid).transpose(2, 3)
        return torch.matmul(rows[:, None], mixed).transpose(2, 3).flatten(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape, N = size * size."""
        parts = (*self.qk(x).chunk(2, dim=-1), self.v(x))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        gate = self.gate.sigmoid()[:, None, None]
        content = F.scaled_dot_product_attention(q, k, v)
        y = (1 - gate) * content + gate * self.by_position(v)
        out: Tensor = self.project(y.transpose(1, 2).flatten(2))
        return out


def _heads(spec: TensorSpec, values: Values) -> TensorSpec:
    if spec.channels % int(values["heads"]):
        raise ShapeError(f"heads must divide the features; {values['heads']} heads got {spec}")
    return spec


def _over_tokens(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return _heads(need_tokens(spec, "attention"), values)


def _over_windows(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"window_attention needs an image; got {spec}")
    return _heads(spec, values)


def _grouped(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    heads, groups = int(values["heads"]), int(values["groups"])
    if heads % groups:
        raise ShapeError(f"groups must divide the heads, {heads} by {groups}; got {spec}")
    return _heads(need_tokens(spec, "attention"), values)


def _placed(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    side(spec, "gated_positional_attention")
    return _heads(spec, values)


def _made(spec: TensorSpec, values: Values) -> Arguments:
    return {"channels": spec.channels, **values}


_HEADS = Parameter(name="heads")

PRIMITIVES = (
    Primitive(
        name="attention",
        summary="multi-head attention over all tokens (ViT, arXiv 2010.11929)",
        module=Attention,
        parameters=(_HEADS,),
        arguments=_made,
        result=_over_tokens,
        needs=(linear,),
    ),
    Primitive(
        name="unbiased_attention",
        summary="the same without biases of queries, keys and values (CCT, arXiv 2104.05704)",
        module=Attention,
        parameters=(_HEADS,),
        arguments=lambda spec, v: {**_made(spec, v), "bias": False},
        result=_over_tokens,
        needs=(linear,),
    ),
    Primitive(
        name="window_attention",
        summary="attention in windows with relative positions (Swin, arXiv 2103.14030)",
        module=WindowAttention,
        parameters=(_HEADS, Parameter(name="window", least=2)),
        arguments=_made,
        result=_over_windows,
        needs=(linear,),
    ),
    Primitive(
        name="linear_attention",
        summary="attention by feature maps, linear in the tokens (arXiv 2006.16236)",
        module=LinearAttention,
        parameters=(_HEADS,),
        arguments=_made,
        result=_over_tokens,
        needs=(linear,),
    ),
    Primitive(
        name="grouped_query_attention",
        summary="attention whose heads share keys and values in groups (arXiv 2305.13245)",
        module=GroupedQueryAttention,
        parameters=(_HEADS, Parameter(name="groups")),
        arguments=_made,
        result=_grouped,
        needs=(linear,),
    ),
    Primitive(
        name="gated_positional_attention",
        summary="attention by content and position, gated (ConViT, arXiv 2103.10697)",
        module=GatedPositionalAttention,
        parameters=(_HEADS,),
        arguments=lambda spec, v: {
            **_made(spec, v),
            "size": side(spec, "gated_positional_attention"),
        },
        result=_placed,
        needs=(linear,),
    ),
)
