"""Which weights of a larger network come from which of a smaller one that computes the same.

Both trees are walked side by side, and what flows in the larger network is known at every place.
Nothing is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from searchspace.actions import Action, Leaf, Place, inserted, placed, zeroed
from searchspace.build import primitive_of
from searchspace.flows import Flow, MorphError, join_of, joined, outgoing, sums
from searchspace.layouts import ANY_CHANNELS, LAYOUTS, Layout
from searchspace.shapes import TensorSpec
from searchspace.tree import Node
from searchspace.widths import leaving

_POSITIVE_FACTOR = {("relu",), ("leaky_relu",)}


def align(old: Node, new: Node, spec: TensorSpec) -> list[Action]:
    """What to do with the weights of a larger network.

    Args:
        old: the smaller tree.
        new: the larger tree.
        spec: input of both.

    Raises:
        MorphError: the larger network cannot be made to compute the same; says where and why.
        ShapeError: a tree does not fit the input.
    """
    walk = _Walk()
    end = walk.row((old,), (new,), Flow(old=spec, new=spec), (), ())
    if not end.same:
        raise MorphError(f"the outputs differ: {end.old} and {end.new}")
    return walk.actions


class _Walk:
    """One walk along both trees."""

    def __init__(self) -> None:
        self.actions: list[Action] = []

    def row(
        self, old: Sequence[Node], new: Sequence[Node], state: Flow, at: Place, to: Place
    ) -> Flow:
        """Align two rows of nodes that follow one another; what leaves them."""
        before, after = placed(old), placed(new)
        start, end = _ends(before, after)
        state = self.pairs(before[:start], after[:start], state, at, to)
        gone, come = before[start : len(before) - end], after[start : len(after) - end]
        if gone or come:
            previous = after[start - 1][1] if start else None
            state = self.middle(gone, come, previous, state, at, to)
        return self.pairs(before[len(before) - end :], after[len(after) - end :], state, at, to)

    def pairs(
        self, old: Sequence[Leaf], new: Sequence[Leaf], state: Flow, at: Place, to: Place
    ) -> Flow:
        """Align layers one by one."""
        for (i, one), (j, other) in zip(old, new, strict=True):
            state = self.pair(one, other, state, (*at, i), (*to, j))
        return state

    def pair(self, old: Node, new: Node, state: Flow, at: Place, to: Place) -> Flow:
        """Align two primitives of one name."""
        if old == new and state.same:
            self.actions.append(Action(kind="copy", new=to, old=at, node=new, before=old))
            out = outgoing(old, state.old)
            return Flow(old=out, new=out)
        if old.children:
            return self.composite(old, new, state, at, to)
        return self.layer(old, new, state, at, to)

    def layer(self, old: Node, new: Node, state: Flow, at: Place, to: Place) -> Flow:
        """Align two layers."""
        one, other = outgoing(old, state.old), outgoing(new, state.new)
        if new.symbol in ANY_CHANNELS:
            passes = new.symbol != "activation" or new.values in _POSITIVE_FACTOR
            if old.values != new.values or (state.factor != 1 and not passes):
                raise MorphError(f"'{new.symbol}' must stay as it is")
            return replace(state, old=one, new=other)
        copies = leaving(LAYOUTS.get(new.symbol, Layout()), old, new, state)
        self.actions.append(
            Action(kind="map", new=to, old=at, node=new, before=old, entering=state, leaving=copies)
        )
        return Flow(old=one, new=other, copies=copies)

    def composite(self, old: Node, new: Node, state: Flow, at: Place, to: Place) -> Flow:
        """Align two composites with as many sequences."""
        if old.values != new.values or len(old.children) != len(new.children):
            raise MorphError(f"'{new.symbol}' must keep its arguments")
        if new.symbol == "dag":
            return self.dag(old, new, state, at, to)
        kind = join_of(new)
        if not kind:
            if not state.same:
                raise MorphError(f"'{new.symbol}' must get what it got")
            self.actions.append(Action(kind="own", new=to, old=at, node=new, before=old))
        primitive = primitive_of(new)
        named = primitive.named(new.values)
        inside = [primitive.inside(spec, named) for spec in (state.old, state.new)]
        inner = replace(state, old=inside[0], new=inside[1])
        outs = [state] if new.symbol == "residual" else []
        bodies = list(zip(old.children, new.children, strict=True)) * primitive.copies(named)
        for b, (one, other) in enumerate(bodies):
            outs.append(self.row(one, other, inner, (*at, b), (*to, b)))
        if not kind and not all(out.same for out in outs):
            raise MorphError(f"'{new.symbol}' must join what it joined")
        return joined(kind, outs, outgoing(old, state.old), outgoing(new, state.new))

    def dag(self, old: Node, new: Node, state: Flow, at: Place, to: Place) -> Flow:
        """Align the edges of two cells."""
        nodes, number = [state], 0
        while number < len(new.children):
            outs = []
            for start in nodes:
                one, other = old.children[number], new.children[number]
                outs.append(self.row(one, other, start, (*at, number), (*to, number)))
                number += 1
            nodes.append(joined("add", outs, state.old, state.new))
        return nodes[-1]

    def middle(
        self,
        old: list[Leaf],
        new: list[Leaf],
        previous: Node | None,
        state: Flow,
        at: Place,
        to: Place,
    ) -> Flow:
        """Align rows that differ in length: new layers between old ones, or round them."""
        if not old:
            for j, node in new:
                state, actions = inserted(node, previous, state, (*to, j))
                self.actions += actions
            return state
        if [node.symbol for _, node in old] == ["zero"]:
            self.actions.append(zeroed(new, to, branch=True))
            out = state.new
            for _, node in new:
                out = outgoing(node, out)
            if (outgoing(old[0][1], state.old), out) != (state.old, state.new):
                raise MorphError("what is new must keep the shape")
            return state
        if len(new) != 1 or not sums(new[0][1]) or not state.same:
            raise MorphError("the layers do not follow from those that were there")
        j, node = new[0]
        return self.wrapped(old, node, state, at, (*to, j))

    def wrapped(self, old: list[Leaf], new: Node, state: Flow, at: Place, to: Place) -> Flow:
        """Align layers with one body of a new sum, the other bodies zero."""
        reasons = []
        bodies = [placed(body) for body in new.children]
        for b, body in enumerate(bodies):
            before = len(self.actions)
            try:
                for c, other in enumerate(bodies):
                    if c != b:
                        self.actions.append(zeroed(other, (*to, c), branch=True))
                if not _alike(old, body):
                    raise MorphError("the layers do not follow from those that were there")
                return self.pairs(old, body, state, at, (*to, b))
            except MorphError as fault:
                del self.actions[before:]
                reasons.append(str(fault))
        raise MorphError("; ".join(reasons))


def _alike(old: list[Leaf], new: list[Leaf]) -> bool:
    return [node.symbol for _, node in old] == [node.symbol for _, node in new]


def _ends(old: list[Leaf], new: list[Leaf]) -> tuple[int, int]:
    """How many layers go on from the start on, and how many of the others at the end."""
    if _alike(old, new):
        return len(old), 0
    most = min(len(old), len(new))
    start = 0
    while start < most and old[start][1] == new[start][1]:
        start += 1
    end = 0
    while end < most - start and old[-1 - end][1] == new[-1 - end][1]:
        end += 1
    return start, end
