"""Small networks in the manner of usual families, which say what calls take within a network.

Calls that are measured one by one lack what their neighbours do to caches, allocator and threads.
A profile measures these networks whole, so that its prices can be corrected by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

SIDE = 224
"""Height and width of the image."""


class _Residual(nn.Module):
    """Adds its input where the shape is kept, with an activation after it or without."""

    def __init__(self, body: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.after = body, after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.after(x + self.body(x))
        return out


class _Gate(nn.Module):
    """Squeeze-excite."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = (
            nn.Conv2d(channels, channels // 8, 1),
            nn.Conv2d(channels // 8, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        weights = self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(weights)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.into(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*parts.unbind(0))
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out


class _Along(nn.Module):
    """Runs a module with two dimensions swapped: over tokens, or over channels last."""

    def __init__(self, body: nn.Module, image: bool) -> None:
        super().__init__()
        self.body, self.image = body, image

    def forward(self, x: Tensor) -> Tensor:
        if self.image:
            out: Tensor = self.body(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return out
        return self.body(x.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]


def _conv(
    into: int, out: int, kernel: int, stride: int = 1, *, groups: int = 1, act: bool = True
) -> nn.Sequential:
    convolution = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(
        convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True) if act else nn.Identity()
    )


def _stages(
    stem: int, stride: int, widths: tuple[int, ...], depth: int, block: Callable[[int], nn.Module]
) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3, stem, 7 if stride == 4 else 3, stride)]
    before = stem
    for width in widths:
        layers += [_conv(before, width, 3, 2), *(block(width) for _ in range(depth))]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1000))


def _basic(width: int) -> nn.Module:
    return _Residual(
        nn.Sequential(_conv(width, width, 3), _conv(width, width, 3, act=False)), nn.ReLU()
    )


def _bottleneck(width: int) -> nn.Module:
    inner = width // 4
    body = (_conv(width, inner, 1), _conv(inner, inner, 3), _conv(inner, width, 1, act=False))
    return _Residual(nn.Sequential(*body), nn.ReLU())


def _grouped(width: int) -> nn.Module:
    body = (_conv(width, width, 1), _conv(width, width, 3, groups=width // 16))
    return _Residual(nn.Sequential(*body, _conv(width, width, 1, act=False)), nn.ReLU())


def _inverted(width: int) -> nn.Module:
    wide = 4 * width
    body = (_conv(width, wide, 1), _conv(wide, wide, 3, groups=wide))
    return _Residual(nn.Sequential(*body, _conv(wide, width, 1, act=False)))


def _gated(width: int) -> nn.Module:
    wide = 4 * width
    body = (_conv(width, wide, 1), _conv(wide, wide, 5, groups=wide), nn.SiLU(), _Gate(wide))
    return _Residual(nn.Sequential(*body, _conv(wide, width, 1, act=False)))


def _convnext(width: int) -> nn.Module:
    mixed = nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
    )
    depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
    return _Residual(nn.Sequential(depthwise, _Along(mixed, image=True)))


def _plain(width: int) -> nn.Module:
    return nn.Sequential(_conv(width, width, 3), nn.MaxPool2d(3, 1, 1))


def _mlp(width: int) -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
    )


def _tokens(width: int, depth: int, mixer: Callable[[int], nn.Module]) -> nn.Sequential:
    patches = nn.Sequential(nn.Conv2d(3, width, 16, 16), nn.Flatten(2))
    layers: list[nn.Module] = [patches, _Turn()]
    for _ in range(depth):
        layers += [_Residual(mixer((SIDE // 16) ** 2)), _Residual(_mlp(width))]
    return nn.Sequential(*layers, nn.LayerNorm(width), nn.Linear(width, 1000))


class _Turn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, width, tokens]` to `[batch, tokens, width]`."""
        return x.transpose(1, 2)


def usual_networks() -> Mapping[str, Callable[[], nn.Module]]:
    """What makes each network, by name, for images of `SIDE`."""

    def attention(width: int, heads: int) -> Callable[[int], nn.Module]:
        return lambda tokens: nn.Sequential(nn.LayerNorm(width), _Attention(width, heads))

    def mixing(width: int) -> Callable[[int], nn.Module]:
        def made(tokens: int) -> nn.Module:
            inner = nn.Sequential(
                nn.Linear(tokens, 2 * width), nn.GELU(), nn.Linear(2 * width, tokens)
            )
            return nn.Sequential(nn.LayerNorm(width), _Along(inner, image=False))

        return made

    return {
        "basic": lambda: _stages(64, 4, (64, 128, 256), 2, _basic),
        "narrow basic": lambda: _stages(24, 2, (32, 64, 96), 3, _basic),
        "bottleneck": lambda: _stages(64, 4, (256, 512), 3, _bottleneck),
        "grouped": lambda: _stages(32, 2, (64, 160, 384), 2, _grouped),
        "inverted": lambda: _stages(16, 2, (24, 40, 96), 2, _inverted),
        "wide inverted": lambda: _stages(32, 2, (32, 64, 160), 3, _inverted),
        "gated": lambda: _stages(24, 2, (24, 56, 112), 2, _gated),
        "convnext": lambda: _stages(40, 4, (80, 160, 320), 2, _convnext),
        "small convnext": lambda: _stages(32, 2, (48, 96, 192), 2, _convnext),
        "plain": lambda: _stages(48, 2, (96, 192, 256), 2, _plain),
        "attention": lambda: _tokens(192, 6, attention(192, 3)),
        "wide attention": lambda: _tokens(384, 3, attention(384, 6)),
        "mixer": lambda: _tokens(256, 5, mixing(256)),
    }
