"""NASNet-A in the sizes of its paper."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from searchspace.picks import Part, Pick, pick
from searchspace.published.record import Published, row
from searchspace.tree import Value

_NORMAL = (
    "0 separable5 1 separable3 1 separable5 1 separable3 0 average3 1 identity "
    "1 average3 1 average3 0 separable3 0 identity"
)
_REDUCTION = (
    "0 separable5 1 separable7 0 max3 1 separable7 0 average3 1 separable5 "
    "3 identity 2 average3 2 separable3 0 max3"
)
"""The cells as in the public code: hidden states and operations, block by block."""


def nasnet_a(quarter: int, stem: int, depth: int, drop: int = 0) -> Pick:
    """NASNet-A.

    Args:
        quarter: filters of the first stage, divided by 4.
        stem: filters of the first convolution.
        depth: cells of a stage, without its first and its last.
        drop: percent of operations that are dropped at the end of training.
    """
    draws: dict[str, Value] = {"f": quarter, "w": stem, "n": depth, "d": drop, "m": 1, "k": 3}
    draws |= _named(_NORMAL, "xayb") | _named(_REDUCTION, "rosp")
    stages: list[Part] = [[pick(0)] * depth] * 3
    return pick(0, *stages, **draws)


def _named(cell: str, letters: str) -> dict[str, Value]:
    """The variables of a cell: for each block a state, its operation, a state, its operation."""
    names = [f"{letter}{block}" for block in range(1, 6) for letter in letters]
    values = [int(word) if word.isdigit() else word for word in cell.split()]
    return dict(zip(names, values, strict=True))


NASNET: Mapping[str, Published] = {
    "nasnet_a": row(
        "nasnet",
        5_289_978,
        "arXiv 1707.07012, 4 @ 1056; the public PyTorch ports",
        partial(nasnet_a, 11, 32, 2),
    ),
    "nasnet_a_large": row(
        "nasnet",
        88_753_150,
        "arXiv 1707.07012, 6 @ 4032; the public PyTorch ports",
        partial(nasnet_a, 42, 96, 4),
        size=331,
    ),
}
