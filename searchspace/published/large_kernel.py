"""Networks of `conv_large_kernel`."""

from __future__ import annotations

from collections.abc import Mapping

from searchspace.picks import Part, Pick, pick
from searchspace.published.record import FIRST, Published, row


def _large_kernel(stem: Pick, down: Pick, head: Pick, stages: list[list[Pick]], width: int) -> Pick:
    """Four stages, each twice as wide as the one before."""
    draws = {f"w{i + 1}": width * 2**i for i in range(4)}
    first, *others = stages
    parts: list[Part] = [part for stage in others for part in (down, stage)]
    return pick(0, stem, first, *parts, head, **draws, s=4)


def _convnext() -> Pick:
    block = pick(0, pick(0, 7), FIRST, pick(0, 4, "gelu"))
    stages = [[block] * depth for depth in (3, 3, 9, 3)]
    return _large_kernel(pick(1, FIRST), pick(1, FIRST), FIRST, stages, 96)


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
    return _large_kernel(pick(2, "gelu", FIRST, h=40), pick(0, FIRST), FIRST, stages, 80)


LARGE_KERNEL: Mapping[str, Published] = {
    "convnext_tiny": row(
        "conv_large_kernel", 28_589_128, "arXiv 2201.03545; torchvision", _convnext
    ),
    "inception_next_tiny": row(
        "conv_large_kernel", 28_055_680, "arXiv 2303.16900; timm", _inception_next
    ),
    "unireplknet_tiny": row(
        "conv_large_kernel",
        31_693_420,
        "arXiv 2311.15599; the authors' code, in the form for training (merged: 31,037,980)",
        _unireplknet,
    ),
}
