"""Layers as published networks have them, drawn at random: what a profile of a CPU is spread over.

Each draw is a small module with its input's shape: a convolution with its norm and activation, a
block of attention, and so on, so that every operation in it meets the sizes and strides that it
meets in networks. Sizes are spread evenly in logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]
Drawn = tuple[nn.Module, Shape]

_SIDES = (7, 7, 8, 10, 12, 14, 14, 14, 16, 20, 24, 28, 28, 28, 32, 40, 48, 56, 56, 64, 80, 112, 112)
_ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    *(nn.ReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.ReLU6, nn.LeakyReLU, nn.Sigmoid, nn.Hardsigmoid),
    *(lambda: nn.ReLU(inplace=True), lambda: nn.SiLU(inplace=True)),
    *(lambda: nn.Hardswish(inplace=True), lambda: nn.GELU("tanh"), nn.Tanh, nn.Mish, nn.ELU),
)


def draw_layers(random: Random) -> Iterator[Drawn]:
    """Draw modules, on torch's present default device, with the shapes of their inputs; no end.

    Args:
        random: decides everything.
    """
    kinds = list(_KINDS)
    weights = [_KINDS[kind] for kind in kinds]
    while True:
        yield random.choices(kinds, weights)[0](random)


def _log(random: Random, low: float, high: float) -> float:
    return math.exp(random.uniform(math.log(low), math.log(high)))


def _channels(random: Random, low: float, high: float) -> int:
    """Mostly a multiple of 8, as designers choose them."""
    step = random.choice((8, 8, 8, 8, 16, 4, 4, 1))
    return max(step, round(_log(random, low, high) / step) * step)


def _image(random: Random, least: int = 12) -> tuple[int, int, int]:
    """Batch, channels and side of an image inside a network: the smaller, the more channels."""
    side = random.choice(_SIDES)
    batch = random.choice((1, 1, 1, 1, 1, 2, 4, 8))
    most = min(2048.0, max(4.0 * least, 3e6 / (batch * side * side)))
    return batch, _channels(random, least, most), side


def _tokens(random: Random) -> tuple[int, int, int, int]:
    """Batch, tokens, heads, and features a head."""
    batch = random.choice((1, 1, 1, 1, 2, 4))
    tokens = random.choice((49, 50, 64, 144, 196, 197, 197, 256, 400, 576, 784, 1024, 3136))
    width = random.choice((16, 24, 32, 32, 48, 64, 64, 64))
    most = max(1, min(16, int(1.5e6 / (batch * tokens * width))))
    return batch, tokens, max(1, round(_log(random, 1, most))), width


class _Residual(nn.Module):
    def __init__(self, body: nn.Module, *, inplace: bool) -> None:
        super().__init__()
        self.body, self.inplace = body, inplace

    def forward(self, x: Tensor) -> Tensor:
        """Add what the body makes of its input to that."""
        y: Tensor = self.body(x)
        if y.shape != x.shape:
            return y
        return y.add_(x) if self.inplace else y + x


def _convolution(random: Random) -> Drawn:
    batch, channels, side = _image(random)
    out = _channels(random, max(8, channels / 6), min(2048, channels * 6))
    kernel = random.choice((1, 1, 1, 1, 3, 3, 3, 3, 5, 7))
    stride = random.choice((1, 1, 1, 2)) if kernel > 1 else random.choice((1, 1, 1, 1, 1, 2))
    most = _MOST_FLOPS / (2 * batch * channels * (kernel * side / stride) ** 2)
    out = max(8, min(out, int(most)))
    shape: int | tuple[int, int] = kernel
    pad: int | tuple[int, int] = kernel // 2
    if kernel in (5, 7) and random.random() < 0.4:
        shape, pad = random.choice(
            (((1, kernel), (0, kernel // 2)), ((kernel, 1), (kernel // 2, 0)))
        )
    convolution = nn.Conv2d(channels, out, shape, stride, pad, bias=random.random() < 0.3)
    return _with_norm(random, convolution, out), (batch, channels, side, side)


def _large(random: Random) -> Drawn:
    """A convolution as the first stages of the widest networks have them."""
    side = random.choice((28, 56, 56, 112, 112, 224))
    flops = _log(random, _MOST_FLOPS, 3 * _MOST_FLOPS)
    equal = math.sqrt(flops / 18) / side  # with as many channels out as in
    channels = _channels(random, equal / 2, equal * 2)
    out = max(8, round(equal**2 / channels / 8) * 8)
    convolution = nn.Conv2d(channels, out, 3, padding=1, bias=random.random() < 0.5)
    return nn.Sequential(convolution, nn.ReLU(inplace=True)), (1, channels, side, side)


def _whole_image(random: Random) -> Drawn:
    """A convolution that leaves one position, as the classifiers of VGG have it."""
    side = random.choice((5, 6, 7, 7, 7, 8))
    channels = _channels(random, 64, 512)
    weights = _log(random, 1e6, 22e6)
    out = max(16, round(weights / (channels * side**2) / 8) * 8)
    return nn.Conv2d(channels, out, side), (1, channels, side, side)


def _stem(random: Random) -> Drawn:
    kernel, stride = random.choice(((3, 2), (3, 1), (7, 2), (4, 4), (16, 16), (7, 4), (8, 8)))
    side = random.choice((128, 160, 192, 224, 224, 224, 240, 256))
    out = _channels(random, 12, 96 if kernel < 8 else 512)
    pad = kernel // 2 if kernel % 2 else 0
    convolution = nn.Conv2d(3, out, kernel, stride, pad)
    return _with_norm(random, convolution, out), (random.choice((1, 1, 2)), 3, side, side)


def _down(random: Random) -> Drawn:
    """A convolution of patches."""
    batch, channels, side = _image(random)
    kernel = random.choice((2, 2, 4))
    out = _channels(random, channels / 2, min(1024, channels * 2))
    return nn.Conv2d(channels, out, kernel, kernel), (batch, channels, side * 2, side * 2)


def _grouped(random: Random) -> Drawn:
    batch, _, side = _image(random)
    width = random.choice((4, 8, 8, 16, 16, 24, 32, 40, 64, 64, 96, 128))
    most = max(2, min(64, int(1.5e6 / (batch * side * side * width))))
    groups = max(2, round(_log(random, 2, most)))
    channels = groups * width
    convolution = nn.Conv2d(
        channels, channels, 3, random.choice((1, 1, 2)), 1, groups=groups, bias=False
    )
    return _with_norm(random, convolution, channels), (batch, channels, side, side)


def _depthwise(random: Random) -> Drawn:
    batch, channels, side = _image(random)
    kernel = random.choice((3, 3, 3, 3, 5, 5, 7, 7, 9, 11, 13))
    stride = random.choice((1, 1, 1, 2))
    convolution = nn.Conv2d(
        channels, channels, kernel, stride, kernel // 2, groups=channels, bias=random.random() < 0.4
    )
    return _with_norm(random, convolution, channels), (batch, channels, side, side)


def _with_norm(random: Random, convolution: nn.Module, out: int) -> nn.Module:
    body: list[nn.Module] = [convolution]
    if random.random() < 0.7:
        body.append(nn.BatchNorm2d(out))
    if random.random() < 0.7:
        body.append(random.choice(_ACTIVATIONS)())
    return _Residual(nn.Sequential(*body), inplace=random.random() < 0.5)


class _Gate(nn.Module):
    """Squeeze and excite."""

    def __init__(self, channels: int, within: int, last: nn.Module) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, within, 1), nn.Conv2d(within, channels, 1)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """Weigh channels."""
        s = functional.relu(self.down(x.mean((2, 3), keepdim=True)), inplace=True)
        weighed: Tensor = x * self.last(self.up(s))
        return weighed


def _gate(random: Random) -> Drawn:
    batch, channels, side = _image(random)
    within = _channels(random, 4, max(5, channels / 4))
    last = random.choice((nn.Sigmoid, nn.Hardsigmoid))()
    return _Gate(channels, within, last), (batch, channels, side, side)


class _Attention(nn.Module):
    def __init__(self, heads: int, width: int, *, fused: bool) -> None:
        super().__init__()
        features = heads * width
        self.heads, self.width, self.fused = heads, width, fused
        self.qkv, self.out = nn.Linear(features, 3 * features), nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Heads side by side, as in timm."""
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, self.width).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q * self.width**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        out: Tensor = self.out(y.transpose(1, 2).reshape(b, n, c))
        return out


def _attention(random: Random) -> Drawn:
    batch, tokens, heads, width = _tokens(random)
    if tokens > 1024:
        tokens = 1024
    body = nn.Sequential(
        nn.LayerNorm(heads * width), _Attention(heads, width, fused=random.random() < 0.6)
    )
    return _Residual(body, inplace=False), (batch, tokens, heads * width)


class _Scaled(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(features))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply every feature by its own factor."""
        return x * self.gamma


def _mlp(features: int, random: Random) -> list[nn.Module]:
    within = int(features * random.choice((1, 2, 3, 4, 4, 4)))
    activation = random.choice((nn.GELU, nn.GELU, nn.ReLU, nn.SiLU, nn.Hardswish))()
    scale = [_Scaled(features)] if random.random() < 0.4 else []
    return [
        *(nn.LayerNorm(features, eps=1e-6), nn.Linear(features, within), activation),
        *(nn.Linear(within, features), *scale),
    ]


def _feed_forward(random: Random) -> Drawn:
    batch, tokens, heads, width = _tokens(random)
    features = heads * width
    body = nn.Sequential(*_mlp(features, random))
    return _Residual(body, inplace=False), (batch, tokens, features)


class _Permuted(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Run the body with channels last."""
        y: Tensor = self.body(x.permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


def _convnext(random: Random) -> Drawn:
    batch, channels, side = _image(random, 24)
    kernel = random.choice((3, 5, 7, 7))
    body = nn.Sequential(
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels),
        _Permuted(nn.Sequential(*_mlp(channels, random))),
    )
    layers: list[nn.Module] = [_Residual(body, inplace=False)]
    if random.random() < 0.5:  # the next one meets what this one left
        layers.append(_Residual(body, inplace=False))
    if random.random() < 0.3:
        layers += [_Permuted(nn.LayerNorm(channels)), nn.Conv2d(channels, channels, 2, 2)]
    return nn.Sequential(*layers), (batch, channels, side, side)


def _classifier(random: Random) -> Drawn:
    out = random.choice((10, 100, 1000, 1000, 1280, 4096))
    # The widest have weights that no cache holds.
    features = _channels(random, 64, 16e6 / out if out > 1280 else 2048)
    return nn.Linear(features, out), (random.choice((1, 1, 4)), features)


class _Functional(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Call the function."""
        return self.function(x)


_OTHERS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: functional.max_pool2d(x, 3, 2, 1),
    lambda x: functional.max_pool2d(x, 2, 2),
    lambda x: functional.max_pool2d(x, 3, 1, 1),
    lambda x: functional.avg_pool2d(x, 2, 2),
    lambda x: functional.avg_pool2d(x, 3, 1, 1),
    lambda x: functional.avg_pool2d(x, 3, 1, 1) - x,
    lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1),
    lambda x: x.mean((2, 3)),
    lambda x: x.amax((2, 3)),
    lambda x: torch.cat((x, x), 1),
    lambda x: torch.cat((x[:, : x.shape[1] // 2], x), 1),
    lambda x: torch.cat((x, x, x, x), 1),
    lambda x: functional.interpolate(x, scale_factor=2, mode="nearest"),
    lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    lambda x: functional.pad(x, (1, 1, 1, 1)),
    lambda x: functional.group_norm(x, 1),
    lambda x: x.flatten(2).transpose(1, 2).contiguous(),
    lambda x: functional.softmax(x.flatten(2), -1),
    lambda x: functional.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]),
    lambda x: torch.roll(x.permute(0, 2, 3, 1), (3, 3), (1, 2)),
    lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1] if x.shape[1] % 2 == 0 else x * x,
    lambda x: x.sum((2, 3), keepdim=True) * 0.5,
    lambda x: torch.stack((x, x), 1).sum(1),
    lambda x: x.view(x.shape[0], 2, -1, *x.shape[2:]).sum(1) if x.shape[1] % 2 == 0 else x.sum(1),
    lambda x: x.mean(1, keepdim=True),
    lambda x: functional.normalize(x.flatten(2), dim=-1),
    lambda x: functional.pixel_shuffle(x, 2) if x.shape[1] % 4 == 0 else x * 1.5,
    lambda x: x.flatten(2).mean(2),
    lambda x: x.transpose(1, 2).reshape(x.shape[0], -1) + 1.0,
    lambda x: x.square() / 2.0,
)


def _other(random: Random) -> Drawn:
    batch, channels, side = _image(random)
    return _Functional(random.choice(_OTHERS)), (batch, channels, side, side)


def _element(random: Random) -> Drawn:
    batch, channels, side = _image(random)
    activation = random.choice(_ACTIVATIONS)()
    return _Residual(activation, inplace=random.random() < 0.3), (batch, channels, side, side)


_MOST_FLOPS = 1.2e9
_KINDS: dict[Callable[[Random], Drawn], float] = {
    _convolution: 10.0,
    _large: 0.8,
    _whole_image: 0.5,
    _stem: 1.0,
    _down: 0.7,
    _grouped: 3.0,
    _depthwise: 4.0,
    _gate: 1.2,
    _attention: 3.5,
    _feed_forward: 3.0,
    _convnext: 2.0,
    _classifier: 0.8,
    _other: 4.0,
    _element: 1.5,
}
"""Kinds of layer, each with how often it is drawn."""
