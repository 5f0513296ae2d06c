"""What flows in a larger network beside what flowed in the smaller one at the same place.

The channels of the smaller one, some of them several times, perhaps times a factor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from searchspace.build import flow
from searchspace.shapes import TensorSpec
from searchspace.tree import Node

Copies = tuple[int, ...] | None
"""For every channel, which one of the smaller network it copies; None where nothing is copied."""
outgoing = lru_cache(maxsize=1 << 14)(flow)
"""`searchspace.build.flow`, remembered."""


class MorphError(ValueError):
    """The larger network cannot be made to compute exactly what the smaller one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What flows in the larger network, and its shape in both."""

    old: TensorSpec
    """Shape in the smaller network."""
    new: TensorSpec
    """Shape in the larger one."""
    copies: Copies = None
    """Which channels these are."""
    factor: float = 1.0
    """What they are multiplied by."""

    @property
    def same(self) -> bool:
        """Whether both networks have the same here."""
        return self.copies is None and self.factor == 1.0 and self.old == self.new

    @property
    def even(self) -> bool:
        """Whether all channels have equally many copies."""
        return self.copies is None or len(set(Counter(self.copies).values())) == 1


@lru_cache(maxsize=1 << 12)
def spread(old: int, new: int) -> tuple[int, ...]:
    """Which of `old` units each of `new` ones copies: one after the other, then again."""
    return tuple(i % old for i in range(new))


def join_of(node: Node) -> str:
    """How a composite joins what its sequences make of one input: empty where it does otherwise."""
    if node.symbol == "residual":
        return "add"
    if node.symbol == "branch":
        return str(node.values[0])
    if node.symbol in ("fork", "fork_copies") and node.values[-2] == "clone":
        return "add" if node.values[-1] == "add" else ""
    return ""


def sums(node: Node) -> bool:
    """Whether a composite adds up what each of its sequences makes of one input."""
    return join_of(node) == "add" and node.symbol != "fork_copies"


def joined(kind: str, outs: Sequence[Flow], old: TensorSpec, new: TensorSpec) -> Flow:
    """What leaves a composite.

    Args:
        kind: how it joins, by `join_of`.
        outs: what leaves its sequences.
        old: shape that leaves it in the smaller network.
        new: shape that leaves it in the larger one.

    Raises:
        MorphError: the sequences do not fit together any more.
    """
    if not kind:
        return Flow(old=old, new=new)
    first = outs[0]
    if any(out.factor != first.factor for out in outs):
        raise MorphError("what is joined must have the same factor")
    if kind != "concat":
        if any(out.copies != first.copies for out in outs):
            raise MorphError("what is joined must have its channels in the same order")
        factor = first.factor ** (len(outs) if kind == "multiply" else 1)
        return Flow(old=old, new=new, copies=first.copies, factor=factor)
    copies: list[int] = []
    width = 0
    for out in outs:
        own = range(out.old.channels) if out.copies is None else out.copies
        copies.extend(width + i for i in own)
        width += out.old.channels
    plain = copies == list(range(width))
    return Flow(old=old, new=new, copies=None if plain else tuple(copies), factor=first.factor)
