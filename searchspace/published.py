"""Published networks as trees of the spaces that ship: known points, and places to start from.

Each is derived choice by choice; `searchspace.picks` says how. Alternatives are counted from 0 in
the order of the grammar file, and what leaves no choice there is not mentioned here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.picks import Part, Pick, derive, pick
from searchspace.space import load_space


class UnknownNetworkError(ValueError):
    """No published network of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A network of the literature."""

    space: str
    """Name of the space that holds it."""
    size: int
    """Height and width of the images that it was made for."""
    classes: int
    """Number of classes that it was made for."""
    parameters: int
    """Parameters, with that many classes, as published or as counted in the authors' code."""
    source: str
    """The paper, and where the number of parameters is from."""
    choices: Callable[[], Pick]
    """Its derivation."""


def published(name: str, *, classes: int | None = None) -> Architecture:
    """The tree of a published network.

    Args:
        name: one of `PUBLISHED`.
        classes: size of the output, instead of the published one.

    Raises:
        UnknownNetworkError: there is none of that name; the message lists those there are.
    """
    if name not in PUBLISHED:
        known = ", ".join(PUBLISHED)
        raise UnknownNetworkError(f"no published network '{name}'; known are {known}")
    network = PUBLISHED[name]
    return derive(_grammar(network.space, classes or network.classes), network.choices())


@cache
def _grammar(space: str, classes: int) -> Grammar:
    return load_space(space, classes=classes)


_FIRST = pick(0)
"""The first alternative, where it has no choices of its own: batch norm in `conv_resnet`, layer
norm in `conv_large_kernel`, no gate in `mobile`, multi-head attention in `vit`."""


def _resnet(kind: int, widths: tuple[int, ...], depths: tuple[int, ...], mids: bool) -> Pick:
    """Stages of basic blocks (kind 2) or of bottlenecks to a quarter of the width (kind 0)."""
    stages: list[Part] = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        norm = (_FIRST,) if index < 3 else ()  # the last stage has batch norm alone
        link = (pick(2),) if index else ()  # a strided 1 x 1 convolution
        draws = {"m": width // 4} if mids else {}
        copies = [pick(0, *norm)] * (depth - 1)
        stages.append(pick(kind, *norm, *link, copies, k=3, f="relu", **draws))
    b, c, d, e = widths
    return pick(0, pick(2, "relu"), *stages, _FIRST, a=64, b=b, c=c, d=d, e=e, r=4)


def _deepmad_r18() -> Pick:
    """What DeepMAD found with ResNet-18's parameters and operations."""
    widths, depths, mids = (32, 96, 384, 384, 1024, 672), (1, 6, 9, 10, 12), (40, 40, 64, 104, 104)
    stages = []
    for index, (depth, mid) in enumerate(zip(depths, mids, strict=True)):
        norm = (_FIRST,) if index < 4 else ()
        link = () if index == 3 else (pick(4),)  # mean pooling, then a projection
        copies = [pick(0, *norm)] * (depth - 1)
        kernel = 3 if index == 3 else 5
        stages.append(pick(0, *norm, *link, copies, m=mid, k=kernel, f="relu"))
    draws = dict(zip("abcdef", widths, strict=True))
    return pick(1, "relu", *stages, _FIRST, **draws, r=2)


def _vovnet39() -> Pick:
    rows = zip((128, 160, 192, 224), (0, 0, 1, 1), strict=True)
    stages = [pick(3, pick(0, [pick(0)] * more, m=mid, n=5)) for mid, more in rows]
    widths = {"a": 128, "b": 256, "c": 512, "d": 768, "e": 1024}
    return pick(0, pick(3, m=64), *stages, _FIRST, **widths, r=4)


_MOBILE_STRIDES = (1, 2, 2, 2, 1, 2, 1)


def _mobilenet_v2() -> Pick:
    widths, depths = (32, 16, 24, 32, 64, 96, 160, 320), (1, 2, 3, 4, 3, 3, 1)
    stages: list[Part] = []
    for a, b, depth in zip(widths, widths[1:], depths, strict=False):
        first = pick(0, 3, _FIRST, e=a * 6, f="relu6")
        if a == 32 and b == 16:
            first = pick(1, 3, _FIRST, f="relu6")  # the first block does not expand
        other = pick(0, pick(0, 3, _FIRST, e=b * 6, f="relu6"))
        stages += [first, [other] * (depth - 1)]
    draws = dict(zip("abcdefgh", widths, strict=True))
    return pick(0, pick(0, "relu6"), *stages, pick(0, 1280, "relu6"), **draws)


def _mobilenet_v3() -> Pick:
    """MobileNetV3-Large, table 1: kernel, expansion and hidden units of the gate of each block."""
    small, large = "relu", "hardswish"
    stages = (
        (16, small, ((3, 16, 0),)),
        (24, small, ((3, 64, 0), (3, 72, 0))),
        (40, small, ((5, 72, 24), (5, 120, 32), (5, 120, 32))),
        (80, large, ((3, 240, 0), (3, 200, 0), (3, 184, 0), (3, 184, 0))),
        (112, large, ((3, 480, 120), (3, 672, 168))),
        (160, large, ((5, 672, 168), (5, 960, 240), (5, 960, 240))),
    )
    parts: list[Part] = []
    for width, act, rows in stages:
        blocks = []
        for kernel, expansion, hidden in rows:
            gate = pick(2, h=hidden) if hidden else pick(0)
            blocks.append(pick(0, kernel, gate, e=expansion, f=act))
        if width == 16:
            blocks = [pick(1, pick(1, 3, pick(0), f=act))]  # as wide as the stem: a shortcut
        parts += [blocks[0], [pick(0, block) for block in blocks[1:]]]
    draws = dict(zip("abcdefg", (16, 16, 24, 40, 80, 112, 160), strict=True))
    head = pick(1, 960, large, 1280, large)
    return pick(1, pick(0, large), *parts, head, **draws)


def _efficientnet(stem: Pick, widths: tuple[int, ...], depths: tuple[int, ...]) -> Pick:
    """EfficientNet-B0 (table 1), or with the widths and depths of a TinyNet."""
    kernels, all_widths = (3, 3, 5, 3, 5, 5, 3), (32, *widths)
    stages: list[Part] = []
    for a, b, kernel, depth in zip(all_widths, widths, kernels, depths, strict=False):
        first = pick(0, kernel, pick(1, h=a // 4), e=a * 6, f="silu")
        other = pick(0, kernel, pick(1, h=b // 4), e=b * 6, f="silu")
        if not stages:
            first = pick(1, kernel, pick(1, h=a // 4), f="silu")
            other = pick(1, kernel, pick(1, h=b // 4), f="silu")
        if a == b:
            first = pick(0, first)
        stages += [first, [pick(0, other)] * (depth - 1)]
    draws = dict(zip("abcdefgh", all_widths, strict=True))
    return pick(0, stem, *stages, pick(0, 1280, "silu"), **draws)


def _large_kernel(stem: Pick, down: Pick, head: Pick, stages: list[list[Pick]], width: int) -> Pick:
    """Four stages, each twice as wide as the one before."""
    draws = {f"w{i + 1}": width * 2**i for i in range(4)}
    first, *others = stages
    parts: list[Part] = [part for stage in others for part in (down, stage)]
    return pick(0, stem, first, *parts, head, **draws, s=4)


def _convnext() -> Pick:
    block = pick(0, pick(0, 7), _FIRST, pick(0, 4, "gelu"))
    stages = [[block] * depth for depth in (3, 3, 9, 3)]
    return _large_kernel(pick(1, _FIRST), pick(1, _FIRST), _FIRST, stages, 96)


def _inception_next() -> Pick:
    batch_norm = pick(1)
    rows = zip((3, 3, 9, 3), (4, 4, 4, 3), strict=True)
    stages = [
        [pick(0, pick(2, 11), batch_norm, pick(0, ratio, "gelu"))] * depth for depth, ratio in rows
    ]
    stem, head = pick(1, batch_norm), pick(1, 3, "gelu")
    return _large_kernel(stem, pick(1, batch_norm), head, stages, 96)


def _unireplknet() -> Pick:
    batch_norm, gate, channel = pick(1), pick(0), pick(3, 4, "gelu")
    small = pick(3, pick(6, 3), batch_norm, gate, channel)
    large = pick(3, pick(1, 13), batch_norm, gate, channel)
    stages = [[small] * 3, [large] * 3, [large, small] * 9, [large] * 3]
    return _large_kernel(pick(2, "gelu", _FIRST, h=40), pick(0, _FIRST), _FIRST, stages, 80)


def _vit() -> Pick:
    block = pick(0, _FIRST, 4, "gelu")
    return pick(0, pick(1, 16, pick(1, [block] * 12)), h=12)


def _mlp_mixer() -> Pick:
    block = pick(2, 384, "gelu", 4, "gelu")
    return pick(0, pick(0, pick(1, 16), pick(1, [block] * 12), "mean"), h=12)


def _cct() -> Pick:
    block = pick(1, pick(2), 2, "gelu")
    embed = pick(2, pick(0, 3, 1))
    return pick(0, pick(0, embed, pick(1, [block] * 7), "sequence"), h=4)


def _row(
    space: str,
    parameters: int,
    source: str,
    choices: Callable[[], Pick],
    *,
    size: int = 224,
    classes: int = 1000,
) -> Published:
    return Published(
        space=space,
        size=size,
        classes=classes,
        parameters=parameters,
        source=source,
        choices=choices,
    )


_TINY = (16, 24, 40, 80, 112, 192, 320)

PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "resnet18": _row(
            "conv_resnet",
            11_689_512,
            "arXiv 1512.03385; torchvision",
            lambda: _resnet(2, (64, 128, 256, 512), (2, 2, 2, 2), mids=False),
        ),
        "resnet50": _row(
            "conv_resnet",
            25_557_032,
            "arXiv 1512.03385; torchvision",
            lambda: _resnet(0, (256, 512, 1024, 2048), (3, 4, 6, 3), mids=True),
        ),
        "deepmad_r18": _row(
            "conv_resnet", 11_826_088, "arXiv 2303.02165; the authors' code", _deepmad_r18
        ),
        "vovnet39": _row(
            "conv_resnet", 22_600_296, "arXiv 1904.09730; timm's vovnet39a", _vovnet39
        ),
        "mobilenet_v2": _row("mobile", 3_504_872, "arXiv 1801.04381; torchvision", _mobilenet_v2),
        "mobilenet_v3_large": _row(
            "mobile", 5_483_032, "arXiv 1905.02244; torchvision", _mobilenet_v3
        ),
        "efficientnet_b0": _row(
            "mobile",
            5_288_548,
            "arXiv 1905.11946; torchvision",
            lambda: _efficientnet(pick(0, "silu"), _TINY, (1, 2, 2, 3, 3, 4, 1)),
        ),
        "tinynet_a": _row(
            "mobile",
            6_187_972,
            "arXiv 2010.14819; timm, at its resolution of 192 out of 224",
            lambda: _efficientnet(pick(1, 860, "silu"), _TINY, (1, 2, 2, 4, 4, 5, 1)),
        ),
        "convnext_tiny": _row(
            "conv_large_kernel", 28_589_128, "arXiv 2201.03545; torchvision", _convnext
        ),
        "inception_next_tiny": _row(
            "conv_large_kernel", 28_055_680, "arXiv 2303.16900; timm", _inception_next
        ),
        "unireplknet_tiny": _row(
            "conv_large_kernel",
            31_693_420,
            "arXiv 2311.15599; the authors' code, in the form for training (merged: 31,037,980)",
            _unireplknet,
        ),
        "vit_b16": _row("vit", 86_567_656, "arXiv 2010.11929; torchvision", _vit),
        "mixer_b16": _row("vit", 59_880_472, "arXiv 2105.01601; timm", _mlp_mixer),
        "cct_7_3x1": _row(
            "vit", 3_760_139, "arXiv 2104.05704; the authors' code", _cct, size=32, classes=10
        ),
    }
)
"""Published networks by name."""
