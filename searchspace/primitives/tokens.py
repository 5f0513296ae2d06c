"""Images to tokens and back, what is added to tokens, their channel and token MLPs, their pools.

Dimension letters: B batch, C channels, H height, W width, N tokens, D features, K kernel.
Linear layers start as in ViT's public code: truncated normal of deviation 0.02, biases zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.primitives.channel import ACTIVATIONS, Activation
from searchspace.primitives.convolution import conv2d
from searchspace.shapes import ShapeError, TensorSpec, strided, vector


def linear(features: int, out: int, bias: bool = True) -> nn.Linear:
    """A linear layer, initialised as in ViT."""
    layer = nn.Linear(features, out, bias=bias)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class ToTokens(nn.Module):
    """Every pixel becomes a token, row by row."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, H * W, C]`."""
        return x.flatten(2).transpose(1, 2)


class ToImage(nn.Module):
    """Tokens become the pixels of a square image, row by row."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """`[B, size * size, D]` to `[B, D, size, size]`."""
        return torch.unflatten(x, 1, (self.size, self.size)).permute(0, 3, 1, 2)


class PatchTokens(nn.Module):
    """Patches that do not overlap, each projected to a token: z_i = E x_i + b.

    Dosovitskiy et al., ViT (arXiv 2010.11929), equation 1, without class token and position.
    """

    def __init__(self, channels: int, out: int, patch: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, out, patch, stride=patch)
        nn.init.trunc_normal_(self.project.weight, std=0.02)
        assert self.project.bias is not None
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, H / patch * W / patch, out]`."""
        y: Tensor = self.project(x)
        return y.flatten(2).transpose(1, 2)


class ConvTokens(nn.Module):
    """Convolution without bias, ReLU, 3 x 3 max pool of stride 2: MaxPool(ReLU(Conv2d(x))).

    Hassani et al., CCT (arXiv 2104.05704), with one such layer.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = conv2d(channels, out, kernel, stride=stride, bias=0)
        # The authors' code departs here from their other layers, and so do we.
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, h * w, out]`, h and w about H and W over twice the stride."""
        y = F.max_pool2d(F.relu(self.conv(x)), 3, stride=2, padding=1)
        return y.flatten(2).transpose(1, 2)


class SoftSplit(nn.Module):
    """Overlapping windows, each normalised as one vector and projected to a token.

    Yuan et al., T2T-ViT (arXiv 2101.11986), section 3.1: the soft split concatenates the K x K
    pixels of a window. Departure: there the layer norm and the projection are the first half of a
    transformer layer; here they follow the split, and any block may come next.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, (kernel - stride + 1) // 2
        self.norm = nn.LayerNorm(channels * kernel * kernel)
        self.project = linear(channels * kernel * kernel, out)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, N, out]`, N windows in rows."""
        windows = F.unfold(x, self.kernel, padding=self.padding, stride=self.stride)
        y: Tensor = self.project(self.norm(windows.transpose(1, 2)))
        return y


class ClassToken(nn.Module):
    """A learned token before the others (ViT, arXiv 2010.11929, equation 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to `[B, 1 + N, D]`."""
        return torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1)


class Position(nn.Module):
    """A learned vector added to every token (ViT, arXiv 2010.11929, equation 1)."""

    def __init__(self, channels: int, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(1, tokens, channels))
        nn.init.trunc_normal_(self.embedding, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape."""
        return x + self.embedding


class TokenPool(nn.Module):
    """All tokens to one vector: their mean, the first, or a weighted sum.

    The weights of `sequence` are the soft-max over the tokens of a learned score g(x):
    softmax(g(x)^T) x (Hassani et al., CCT, arXiv 2104.05704).
    """

    def __init__(self, channels: int, how: str) -> None:
        super().__init__()
        self.how = how
        self.score = linear(channels, 1) if how == "sequence" else None

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to `[B, D]`."""
        if self.score is not None:
            weights = self.score(x).softmax(dim=1)
            return torch.matmul(weights.transpose(1, 2), x).squeeze(1)
        return x[:, 0] if self.how == "first" else x.mean(1)


class TokenMLP(nn.Module):
    """Expansion, activation, projection of every token: W2 act(W1 x + b1) + b2.

    Vaswani et al. (arXiv 1706.03762), equation 2, with any activation.
    """

    def __init__(self, channels: int, ratio: int, act: str) -> None:
        super().__init__()
        self.expand = linear(channels, channels * ratio)
        self.act = Activation(act)
        self.project = linear(channels * ratio, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape."""
        y: Tensor = self.project(self.act(self.expand(x)))
        return y


class MixerMLP(nn.Module):
    """One MLP along the tokens, shared by all features: W2 act(W1 x), x of one feature.

    Tolstikhin et al., MLP-Mixer (arXiv 2105.01601), equation 1, without its norm and sum. The
    hidden width is the paper's D_S, which does not depend on the number of tokens.
    """

    def __init__(self, tokens: int, hidden: int, act: str) -> None:
        super().__init__()
        self.expand = linear(tokens, hidden)
        self.act = Activation(act)
        self.project = linear(hidden, tokens)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape."""
        y: Tensor = self.project(self.act(self.expand(x.transpose(1, 2))))
        return y.transpose(1, 2)


def token_spec(count: int, features: int) -> TensorSpec:
    """`[N, D]`."""
    return TensorSpec("tokens", (count, features))


def need_tokens(spec: TensorSpec, name: str) -> TensorSpec:
    """The spec, or `ShapeError` if it is not one of tokens."""
    if spec.mode != "tokens":
        raise ShapeError(f"{name} needs tokens; got {spec}")
    return spec


def side(spec: TensorSpec, name: str) -> int:
    """Height and width of the square that tokens fill.

    Raises:
        ShapeError: not tokens, or no square number of them.
    """
    count = need_tokens(spec, name).shape[0]
    if isqrt(count) ** 2 != count:
        raise ShapeError(f"{name} needs a square number of tokens, no class token; got {spec}")
    return isqrt(count)


def _pixels(spec: TensorSpec, name: str) -> tuple[int, int]:
    if spec.mode != "image":
        raise ShapeError(f"{name} needs an image; got {spec}")
    return spec.shape[1], spec.shape[2]


def _flattened(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    height, width = _pixels(spec, "to_tokens")
    return token_spec(height * width, spec.channels)


def _squared(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    size = side(spec, "to_image")
    return TensorSpec("image", (spec.channels, size, size))


def _patches(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    (height, width), patch = _pixels(spec, "patch_tokens"), int(values["patch"])
    if height % patch or width % patch:
        raise ShapeError(f"patch_tokens needs sizes that {patch} divides; got {spec}")
    return token_spec(height // patch * (width // patch), int(values["out"]))


def _convolved(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    stride = int(values["stride"])
    height, width = (strided(strided(n, stride), 2) for n in _pixels(spec, "conv_tokens"))
    return token_spec(height * width, int(values["out"]))


def _split(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    kernel, stride = int(values["kernel"]), int(values["stride"])
    if stride > kernel:
        faults = f"stride {stride} is above kernel {kernel}"
        raise ShapeError(f"t2t_tokens needs windows that meet, but {faults}; got {spec}")
    padding = (kernel - stride + 1) // 2
    height, width = ((n + 2 * padding - kernel) // stride + 1 for n in _pixels(spec, "t2t_tokens"))
    if min(height, width) < 1:
        raise ShapeError(f"t2t_tokens needs an image that holds a window; got {spec}")
    return token_spec(height * width, int(values["out"]))


def _one_more(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    count, features = need_tokens(spec, "class_token").shape
    return token_spec(count + 1, features)


def _pooled(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return vector(need_tokens(spec, "token_pool").channels)


def _kept(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return need_tokens(spec, "this layer")


def _made(spec: TensorSpec, values: Values) -> Arguments:
    return {"channels": spec.channels, **values}


_OUT, _STRIDE = Parameter(name="out"), Parameter(name="stride")
_ACT = Parameter(name="act", words=ACTIVATIONS)

PRIMITIVES = (
    Primitive(
        name="to_tokens",
        summary="every pixel becomes a token",
        module=ToTokens,
        arguments=lambda spec, v: {},
        result=_flattened,
    ),
    Primitive(
        name="to_image",
        summary="tokens become the pixels of a square image",
        module=ToImage,
        arguments=lambda spec, v: {"size": isqrt(spec.shape[0])},
        result=_squared,
    ),
    Primitive(
        name="patch_tokens",
        summary="patches without overlap, each projected to a token (ViT, arXiv 2010.11929)",
        module=PatchTokens,
        parameters=(_OUT, Parameter(name="patch")),
        arguments=_made,
        result=_patches,
    ),
    Primitive(
        name="conv_tokens",
        summary="convolution, ReLU, max pool, then tokens (CCT, arXiv 2104.05704)",
        module=ConvTokens,
        parameters=(_OUT, Parameter(name="kernel", odd=True), _STRIDE),
        arguments=_made,
        result=_convolved,
        needs=(conv2d,),
    ),
    Primitive(
        name="t2t_tokens",
        summary="overlapping windows, normalised and projected (T2T-ViT, arXiv 2101.11986)",
        module=SoftSplit,
        parameters=(_OUT, Parameter(name="kernel"), _STRIDE),
        arguments=_made,
        result=_split,
        needs=(linear,),
    ),
    Primitive(
        name="class_token",
        summary="a learned token before the others (ViT, arXiv 2010.11929)",
        module=ClassToken,
        arguments=_made,
        result=_one_more,
    ),
    Primitive(
        name="position",
        summary="a learned vector added to every token (ViT, arXiv 2010.11929)",
        module=Position,
        arguments=lambda spec, v: {"channels": spec.channels, "tokens": spec.shape[0]},
        result=_kept,
    ),
    Primitive(
        name="token_pool",
        summary="mean, first or weighted sum of the tokens (CCT, arXiv 2104.05704)",
        module=TokenPool,
        parameters=(Parameter(name="how", words=("mean", "first", "sequence")),),
        arguments=_made,
        result=_pooled,
        needs=(linear,),
    ),
    Primitive(
        name="token_mlp",
        summary="expansion, activation, projection of every token (arXiv 1706.03762)",
        module=TokenMLP,
        parameters=(Parameter(name="ratio"), _ACT),
        arguments=_made,
        result=_kept,
        needs=(linear, Activation),
    ),
    Primitive(
        name="mixer_mlp",
        summary="one MLP along the tokens for all features (MLP-Mixer, arXiv 2105.01601)",
        module=MixerMLP,
        parameters=(Parameter(name="hidden"), _ACT),
        arguments=lambda spec, v: {"tokens": spec.shape[0], **v},
        result=_kept,
        needs=(linear, Activation),
    ),
)
