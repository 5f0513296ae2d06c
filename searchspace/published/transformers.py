"""Vision transformers and hybrids of convolution and attention."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from searchspace.picks import Pick, pick
from searchspace.published.record import FIRST, Published, row


def _vit() -> Pick:
    block = pick(0, FIRST, 4, "gelu")
    return pick(0, pick(1, 16, pick(1, [block] * 12)), h=12)


def _mlp_mixer() -> Pick:
    block = pick(2, 384, "gelu", 4, "gelu")
    return pick(0, pick(0, pick(1, 16), pick(1, [block] * 12), "mean"), h=12)


def _cct() -> Pick:
    block = pick(1, pick(2), 2, "gelu")
    embed = pick(2, pick(0, 3, 1))
    return pick(0, pick(0, embed, pick(1, [block] * 7), "sequence"), h=4)


def _vit_res_tiny() -> Pick:
    """What ViT-ResNAS starts from."""
    stages = [pick(0, [pick(0, FIRST, 4, "gelu")] * 4)] * 3
    return pick(2, pick(0, 7, s=24), *stages, a=3, b=6, c=12)


def _glnet(layout: int, widths: tuple[int, ...], depths: tuple[int, ...], ratio: int) -> Pick:
    """GLNet in Swin's layout (0), or the deep one with convolutions for position (1)."""
    if layout == 0:
        mixed, attended = pick(0, 8, 5, ratio), pick(0, ratio)
        third = pick(0, [mixed] * depths[2])
    else:
        mixed, attended = pick(1, 8, 5, r=ratio), pick(1, r=ratio)
        third = pick(1, [pick(0, mixed, attended)] * (depths[2] // 2))
    down, last = pick(layout), pick(2, [attended] * depths[3])
    first, second = (pick(1, [mixed] * depth) for depth in depths[:2])
    draws = dict(zip("abcd", widths, strict=True))
    return pick(0, pick(layout), first, down, second, down, third, down, last, FIRST, **draws)


def _crossvit(heads: int, depth: int, ratio: int) -> Pick:
    """CrossViT with `depth` blocks on the coarse patches in each of three rounds."""
    block = pick(0, ratio)
    return pick(1, [pick(0, [block], [block] * depth)] * 3, h=heads)


_CROSSVITS = (
    # Name, heads, depth, ratio, parameters.
    ("tiny", 3, 4, 4, 7_014_800),
    ("small", 6, 4, 4, 26_856_272),
    ("base", 12, 4, 4, 105_025_232),
    ("9", 4, 3, 3, 8_553_296),
    ("15", 6, 5, 3, 27_528_464),
    ("18", 7, 6, 3, 43_271_408),
)
_GLNETS = (
    # Name, layout, widths, depths, ratio, parameters.
    ("stl", 0, (3, 6, 12, 24), (2, 2, 6, 2), 4, 30_296_786),
    ("4g", 1, (2, 4, 8, 16), (4, 4, 18, 4), 3, 27_001_593),
    ("9g", 1, (3, 6, 12, 24), (4, 4, 18, 4), 3, 60_010_617),
)

TRANSFORMERS: Mapping[str, Published] = {
    "vit_b16": row("vit", 86_567_656, "arXiv 2010.11929; torchvision", _vit),
    "mixer_b16": row("vit", 59_880_472, "arXiv 2105.01601; timm", _mlp_mixer),
    "cct_7_3x1": row(
        "vit", 3_760_139, "arXiv 2104.05704; the authors' code", _cct, size=32, classes=10
    ),
    "vit_res_tiny": row("vit", 42_012_736, "arXiv 2109.00642; the authors' code", _vit_res_tiny),
    **{
        f"glnet_{name}": row(
            "hybrid",
            count,
            "arXiv 2411.14429; the authors' code",
            partial(_glnet, layout, widths, depths, ratio),
        )
        for name, layout, widths, depths, ratio, count in _GLNETS
    },
    **{
        f"crossvit_{name}": row(
            "hybrid",
            count,
            "arXiv 2103.14899; the authors' code",
            partial(_crossvit, *sizes),
            size=240,
        )
        for name, *sizes, count in _CROSSVITS
    },
}
