"""Which weights of a larger network come from which of a smaller one that computes the same.

Both trees are walked side by side. What flows in the larger network is known at every place: the
channels of the smaller one, some of them several times, perhaps times a factor. Nothing is built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from searchspace.build import flow, leaves, primitive_of
from searchspace.layouts import ANY_CHANNELS, GATES, KEEPS_ZERO, LAYOUTS, Layout
from searchspace.shapes import TensorSpec
from searchspace.tree import Node, Value

Place = tuple[int, ...]
"""Way to a layer: its place in the row, then number of a sequence argument and place there, …"""
Copies = tuple[int, ...] | None
"""For every channel, which one of the smaller network it copies; None where nothing is copied."""
_BY_MODE = ("last_linear", "mode_norm", "learned_position")
_POSITIVE_FACTOR = {("relu",), ("leaky_relu",)}
_IDEMPOTENT = {("relu",), ("relu6",)}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What becomes of the weights of one layer of the larger network."""

    kind: Literal["copy", "map", "own", "zero", "half"]
    """`copy` all as they are; `map` by the layout; `own`: copy all but the sequences' weights; of a
    new layer, `zero` the output, or, of a gate, let it pass `half` of everything."""
    new: Place
    """The layer."""
    old: Place = ()
    """Where its weights come from; unused for `zero` and `half`."""
    node: Node
    """The layer's node in the larger tree."""
    before: Node | None = None
    """Its node in the smaller tree."""
    entering: Flow | None = None
    """What enters it, for `map`."""
    leaving: Copies = None
    """Channels that leave it, for `map`."""
    branch: bool = False
    """Whether a new layer is on a new branch, rather than one more in a row."""


_Leaf = tuple[int, Node]
"""A layer or composite with its place in the row."""


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
        before, after = _leaves(old), _leaves(new)
        start, end = 0, 0
        if [n.symbol for _, n in before] != [n.symbol for _, n in after]:
            start, end = _ends(before, after)
        else:
            start = len(before)
        for (i, one), (j, other) in zip(before[:start], after[:start], strict=True):
            state = self.pair(one, other, state, (*at, i), (*to, j))
        if len(before) != start or len(after) != start:
            middle = before[start : len(before) - end], after[start : len(after) - end]
            previous = after[start - 1][1] if start else None
            state = self.middle(*middle, previous, state, at, to)
            for (i, one), (j, other) in zip(
                before[len(before) - end :], after[len(after) - end :], strict=True
            ):
                state = self.pair(one, other, state, (*at, i), (*to, j))
        return state

    def pair(self, old: Node, new: Node, state: Flow, at: Place, to: Place) -> Flow:
        """Align two primitives of one name."""
        if old.symbol != new.symbol:
            raise MorphError(f"a '{old.symbol}' does not become a '{new.symbol}'")
        if old == new and state.same:
            self.actions.append(Action(kind="copy", new=to, old=at, node=new, before=old))
            out = _flow(old, state.old)
            return Flow(old=out, new=out)
        if old.children:
            return self.composite(old, new, state, at, to)
        return self.layer(old, new, state, at, to)

    def layer(self, old: Node, new: Node, state: Flow, at: Place, to: Place) -> Flow:
        """Align two layers."""
        one, other = _flow(old, state.old), _flow(new, state.new)
        if new.symbol in ANY_CHANNELS:
            passes = new.symbol != "activation" or new.values in _POSITIVE_FACTOR
            if old.values != new.values or (state.factor != 1 and not passes):
                raise MorphError(f"'{new.symbol}' must stay as it is")
            return replace(state, old=one, new=other)
        layout = LAYOUTS.get(new.symbol, Layout())
        copies = self.leaving(layout, old, new, state)
        self.actions.append(
            Action(kind="map", new=to, old=at, node=new, before=old, entering=state, leaving=copies)
        )
        return Flow(old=one, new=other, copies=copies)

    def leaving(self, layout: Layout, old: Node, new: Node, state: Flow) -> Copies:
        """The channels that leave a layer; raises where the table forbids it."""
        name, named = new.symbol, primitive_of(new).named
        a, b = named(old.values), named(new.values)
        for key in a:
            if a[key] != b[key] and not _grown(a[key], b[key], key, layout):
                raise MorphError(f"the {key} of '{name}' must not go from {a[key]} to {b[key]}")
        summed = any("i" in letters for letters in layout.weights.values())
        if not layout.weights or (state.factor != 1 and not (summed or layout.absorbs)):
            raise MorphError(f"'{name}' must stay as it is, and what enters it")
        if state.factor != 1 and name in (*GATES, "token_pool"):
            raise MorphError(f"'{name}' must get what it got")
        if state.copies is not None and (layout.fixed or (layout.even and not state.even)):
            raise MorphError(f"'{name}' must have the channels that it had, all as often")
        _special(layout, old, new, state)
        if name == "grouped_conv":
            return state.copies
        if "out" in b:
            return _spread(int(a["out"]), int(b["out"]))
        return None if name == "classifier" else state.copies

    def composite(self, old: Node, new: Node, state: Flow, at: Place, to: Place) -> Flow:
        """Align two composites with as many sequences."""
        if old.values != new.values or len(old.children) != len(new.children):
            raise MorphError(f"'{new.symbol}' must keep its arguments")
        if new.symbol == "dag":
            return self.dag(old, new, state, at, to)
        kind = join_of(new)
        if not kind and not state.same:
            raise MorphError(f"'{new.symbol}' must get what it got")
        if not kind:
            self.actions.append(Action(kind="own", new=to, old=at, node=new, before=old))
        named = primitive_of(new).named(new.values)
        inner = Flow(
            old=primitive_of(old).inside(state.old, named),
            new=primitive_of(new).inside(state.new, named),
            copies=state.copies,
            factor=state.factor,
        )
        outs = [state] if new.symbol == "residual" else []
        number = 0
        for _ in range(primitive_of(new).copies(named)):
            for one, other in zip(old.children, new.children, strict=True):
                outs.append(self.row(one, other, inner, (*at, number), (*to, number)))
                number += 1
        if not kind and not all(out.same for out in outs):
            raise MorphError(f"'{new.symbol}' must join what it joined")
        return _joined(kind, outs, _flow(old, state.old), _flow(new, state.new))

    def dag(self, old: Node, new: Node, state: Flow, at: Place, to: Place) -> Flow:
        """Align the edges of two cells."""
        nodes, number = [state], 0
        while number < len(new.children):
            outs = []
            for start in nodes:
                one, other = old.children[number], new.children[number]
                outs.append(self.row(one, other, start, (*at, number), (*to, number)))
                number += 1
            nodes.append(_joined("add", outs, state.old, state.new))
        return nodes[-1]

    def middle(
        self,
        old: list[_Leaf],
        new: list[_Leaf],
        previous: Node | None,
        state: Flow,
        at: Place,
        to: Place,
    ) -> Flow:
        """Align rows that differ in length: new layers between old ones, or round them."""
        nodes = [node for _, node in new]
        if not old:
            for j, node in new:
                state = self.inserted(node, previous, state, (*to, j))
            return state
        if [node.symbol for _, node in old] == ["zero"]:
            self.zeroed(nodes, to, [j for j, _ in new], branch=True)
            return self.past(old, new, state)
        if len(new) == 1 and _sums(nodes[0]) and state.same:
            return self.wrapped(old, nodes[0], state, at, (*to, new[0][0]))
        raise MorphError("the layers do not follow from those that were there")

    def past(self, old: list[_Leaf], new: list[_Leaf], state: Flow) -> Flow:
        one, other = state.old, state.new
        for _, node in old:
            one = _flow(node, one)
        for _, node in new:
            other = _flow(node, other)
        if (one, other) != (state.old, state.new):
            raise MorphError("what is new must keep the shape")
        return state

    def inserted(self, node: Node, previous: Node | None, state: Flow, to: Place) -> Flow:
        """Make a new layer pass on what it gets, which `previous` made."""
        if node.symbol in GATES:
            self.actions.append(Action(kind="half", new=to, node=node))
            return replace(state, factor=state.factor / 2)
        if node.symbol == "drop_path":
            return state
        if node.symbol == "activation" and previous == node and node.values in _IDEMPOTENT:
            return state
        if _sums(node):
            bodies = list(node.children)
            if node.symbol == "residual":
                bodies = [(), *bodies]
            empty = [b for b, body in enumerate(bodies) if not _leaves(body)]
            if empty:
                shift = len(bodies) - len(node.children)
                for b, body in enumerate(bodies):
                    if b != empty[0]:
                        self.zeroed(body, (*to, b - shift))
                return state
        raise MorphError(f"a new '{node.symbol}' does not pass on what it gets")

    def wrapped(self, old: list[_Leaf], new: Node, state: Flow, at: Place, to: Place) -> Flow:
        """Align layers with one body of a new sum, the other bodies zero."""
        reasons = []
        for b, body in enumerate(new.children):
            before = len(self.actions)
            try:
                for c, other in enumerate(new.children):
                    if c != b:
                        self.zeroed(other, (*to, c), branch=True)
                return self._within(old, body, state, at, (*to, b))
            except MorphError as fault:
                del self.actions[before:]
                reasons.append(str(fault))
        raise MorphError("; ".join(reasons))

    def _within(
        self, old: list[_Leaf], body: Sequence[Node], state: Flow, at: Place, to: Place
    ) -> Flow:
        after = _leaves(body)
        if [n.symbol for _, n in after] != [n.symbol for _, n in old]:
            raise MorphError("the layers do not follow from those that were there")
        for (i, one), (j, other) in zip(old, after, strict=True):
            state = self.pair(one, other, state, (*at, i), (*to, j))
        return state

    def zeroed(
        self,
        row: Sequence[Node],
        to: Place,
        places: Sequence[int] | None = None,
        *,
        branch: bool = False,
    ) -> None:
        """Make a new row of layers give zeros."""
        found = [(j, n) for j, n in enumerate(leaf for node in row for leaf in leaves(node))]
        if places is not None:
            found = list(zip(places, row, strict=True))
        for j, node in reversed(found):
            layout = LAYOUTS.get(node.symbol)
            if layout is not None and layout.zero:
                self.actions.append(Action(kind="zero", new=(*to, j), node=node, branch=branch))
                return
            if node.symbol not in KEEPS_ZERO or node.values == ("sigmoid",):
                break
        raise MorphError("a new branch must end in a layer that can be made to give zeros")


def join_of(node: Node) -> str:
    """How a composite joins what its sequences make of one input: empty where it does otherwise."""
    if node.symbol == "residual":
        return "add"
    if node.symbol == "branch":
        return str(node.values[0])
    if node.symbol in ("fork", "fork_copies") and node.values[-2] == "clone":
        return "add" if node.values[-1] == "add" else ""
    return ""


def _sums(node: Node) -> bool:
    return join_of(node) == "add" and node.symbol != "fork_copies"


def _joined(kind: str, outs: Sequence[Flow], old: TensorSpec, new: TensorSpec) -> Flow:
    first = outs[0]
    if not kind:
        return Flow(old=old, new=new)
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


def _leaves(row: Sequence[Node]) -> list[_Leaf]:
    """The primitives of a row with their places, without those that do nothing."""
    found = enumerate(leaf for node in row for leaf in leaves(node))
    return [(i, node) for i, node in found if node.symbol != "identity"]


def _ends(old: list[_Leaf], new: list[_Leaf]) -> tuple[int, int]:
    """How many layers are equal from the start on, and how many of the others at the end."""
    most = min(len(old), len(new))
    start = 0
    while start < most and old[start][1] == new[start][1]:
        start += 1
    end = 0
    while end < most - start and old[-1 - end][1] == new[-1 - end][1]:
        end += 1
    return start, end


def _grown(old: Value, new: Value, key: str, layout: Layout) -> bool:
    if key not in layout.grows or not isinstance(old, int) or not isinstance(new, int):
        return False
    return new > old and (key != "kernel" or (old % 2 == 1 and new % 2 == 1))


def _special(layout: Layout, old: Node, new: Node, state: Flow) -> None:
    """What the table cannot say in letters."""
    a, b = state.old.channels, state.new.channels
    if new.symbol == "grouped_conv" and (
        (new.values[-1] != 1 or (old.values[0], new.values[0]) != (a, b))
        if state.copies is not None
        else old.values[0] != new.values[0]
    ):
        raise MorphError("'grouped_conv' must have a group for each channel")
    if new.symbol in _BY_MODE and state.old.mode != "tokens":
        raise MorphError(f"'{new.symbol}' must get tokens, or stay as it is")
    if layout.by_position:
        heads = int(old.values[0]), int(new.values[0])
        if a * heads[1] != b * heads[0]:
            raise MorphError(f"heads of '{new.symbol}' must keep their width")
    if layout.even_hidden:
        sizes = int(old.values[0]) * a, int(new.values[0]) * b
        if sizes[1] % sizes[0]:
            raise MorphError(f"hidden units of '{new.symbol}' must have equally many copies")
    if layout.partner is not None:
        try:
            layout.partner("convs.1.weight", old, new)
        except LookupError as fault:
            raise MorphError(f"'{new.symbol}' has {fault.args[0]} to go on with") from None


@lru_cache(maxsize=1 << 12)
def spread(old: int, new: int) -> tuple[int, ...]:
    """Which of `old` units each of `new` ones copies: one after the other, then again."""
    return tuple(i % old for i in range(new))


def _spread(old: int, new: int) -> Copies:
    return None if old == new else spread(old, new)


@lru_cache(maxsize=1 << 14)
def _flow(node: Node, spec: TensorSpec) -> TensorSpec:
    return flow(node, spec)
