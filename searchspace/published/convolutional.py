"""ResNets and what DeepMAD made of one, VoVNet, mobile networks, NASNet-A."""

from __future__ import annotations

from collections.abc import Mapping

from searchspace.picks import Part, Pick, pick
from searchspace.published.record import FIRST, Published, row


def _resnet(kind: int, widths: tuple[int, ...], depths: tuple[int, ...], mids: bool) -> Pick:
    """Stages of basic blocks (kind 2) or of bottlenecks to a quarter of the width (kind 0)."""
    stages: list[Part] = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        norm = (FIRST,) if index < 3 else ()  # the last stage has batch norm alone
        link = (pick(2),) if index else ()  # a strided 1 x 1 convolution
        draws = {"m": width // 4} if mids else {}
        copies = [pick(0, *norm)] * (depth - 1)
        stages.append(pick(kind, *norm, *link, copies, k=3, f="relu", **draws))
    b, c, d, e = widths
    return pick(0, pick(2, "relu"), *stages, FIRST, a=64, b=b, c=c, d=d, e=e, r=4)


def _deepmad_r18() -> Pick:
    """What DeepMAD found with ResNet-18's parameters and operations."""
    widths, depths, mids = (32, 96, 384, 384, 1024, 672), (1, 6, 9, 10, 12), (40, 40, 64, 104, 104)
    stages = []
    for index, (depth, mid) in enumerate(zip(depths, mids, strict=True)):
        norm = (FIRST,) if index < 4 else ()
        link = () if index == 3 else (pick(4),)  # mean pooling, then a projection
        copies = [pick(0, *norm)] * (depth - 1)
        kernel = 3 if index == 3 else 5
        stages.append(pick(0, *norm, *link, copies, m=mid, k=kernel, f="relu"))
    draws = dict(zip("abcdef", widths, strict=True))
    return pick(1, "relu", *stages, FIRST, **draws, r=2)


def _vovnet39() -> Pick:
    rows = zip((128, 160, 192, 224), (0, 0, 1, 1), strict=True)
    stages = [pick(3, pick(0, [pick(0)] * more, m=mid, n=5)) for mid, more in rows]
    widths = {"a": 128, "b": 256, "c": 512, "d": 768, "e": 1024}
    return pick(0, pick(3, m=64), *stages, FIRST, **widths, r=4)


_MOBILE_STRIDES = (1, 2, 2, 2, 1, 2, 1)


def _mobilenet_v2() -> Pick:
    widths, depths = (32, 16, 24, 32, 64, 96, 160, 320), (1, 2, 3, 4, 3, 3, 1)
    stages: list[Part] = []
    for a, b, depth in zip(widths, widths[1:], depths, strict=False):
        first = pick(0, 3, FIRST, e=a * 6, f="relu6")
        if a == 32 and b == 16:
            first = pick(1, 3, FIRST, f="relu6")  # the first block does not expand
        other = pick(0, pick(0, 3, FIRST, e=b * 6, f="relu6"))
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


_TINY = (16, 24, 40, 80, 112, 192, 320)


CONVOLUTIONAL: Mapping[str, Published] = {
    "resnet18": row(
        "conv_resnet",
        11_689_512,
        "arXiv 1512.03385; torchvision",
        lambda: _resnet(2, (64, 128, 256, 512), (2, 2, 2, 2), mids=False),
    ),
    "resnet50": row(
        "conv_resnet",
        25_557_032,
        "arXiv 1512.03385; torchvision",
        lambda: _resnet(0, (256, 512, 1024, 2048), (3, 4, 6, 3), mids=True),
    ),
    "deepmad_r18": row(
        "conv_resnet", 11_826_088, "arXiv 2303.02165; the authors' code", _deepmad_r18
    ),
    "vovnet39": row("conv_resnet", 22_600_296, "arXiv 1904.09730; timm's vovnet39a", _vovnet39),
    "mobilenet_v2": row("mobile", 3_504_872, "arXiv 1801.04381; torchvision", _mobilenet_v2),
    "mobilenet_v3_large": row("mobile", 5_483_032, "arXiv 1905.02244; torchvision", _mobilenet_v3),
    "efficientnet_b0": row(
        "mobile",
        5_288_548,
        "arXiv 1905.11946; torchvision",
        lambda: _efficientnet(pick(0, "silu"), _TINY, (1, 2, 2, 3, 3, 4, 1)),
    ),
    "tinynet_a": row(
        "mobile",
        6_187_972,
        "arXiv 2010.14819; timm, at its resolution of 192 out of 224",
        lambda: _efficientnet(pick(1, 860, "silu"), _TINY, (1, 2, 2, 4, 4, 5, 1)),
    ),
}
