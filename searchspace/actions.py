"""What becomes of the weights of the layers of a larger network; new ones pass on their input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from searchspace.build import leaves
from searchspace.flows import Copies, Flow, MorphError, sums
from searchspace.layouts import GATES, KEEPS_ZERO, LAYOUTS
from searchspace.tree import Node

Place = tuple[int, ...]
"""Way to a layer: its place in the row, then number of a sequence argument and place there, …"""
Leaf = tuple[int, Node]
"""A layer or composite with its place in the row."""
_IDEMPOTENT = {("relu",), ("relu6",)}


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


def placed(row: Sequence[Node]) -> list[Leaf]:
    """The primitives of a row with their places, without those that do nothing."""
    found = enumerate(leaf for node in row for leaf in leaves(node))
    return [(i, node) for i, node in found if node.symbol != "identity"]


def inserted(
    node: Node, previous: Node | None, entering: Flow, to: Place
) -> tuple[Flow, list[Action]]:
    """Make a new layer pass on what it gets.

    Args:
        node: the layer.
        previous: the layer before it, if there is one.
        entering: what enters it.
        to: its place.

    Returns:
        What leaves it, and what to do with its weights.

    Raises:
        MorphError: it cannot.
    """
    if node.symbol in GATES:
        half = Action(kind="half", new=to, node=node)
        return replace(entering, factor=entering.factor / 2), [half]
    repeated = node.symbol == "activation" and previous == node and node.values in _IDEMPOTENT
    if node.symbol == "drop_path" or repeated:
        return entering, []
    if sums(node):
        bodies = [placed(body) for body in node.children]
        passing = -1 if node.symbol == "residual" else bodies.index([]) if [] in bodies else None
        if passing is not None:
            new = [zeroed(body, (*to, b)) for b, body in enumerate(bodies) if b != passing]
            return entering, new
    raise MorphError(f"a new '{node.symbol}' does not pass on what it gets")


def zeroed(row: Sequence[Leaf], to: Place, *, branch: bool = False) -> Action:
    """Make a new row of layers give zeros, by the last of them that can.

    Raises:
        MorphError: none can, or what follows it makes something of zeros.
    """
    for j, node in reversed(row):
        layout = LAYOUTS.get(node.symbol)
        if layout is not None and layout.zero:
            return Action(kind="zero", new=(*to, j), node=node, branch=branch)
        if node.symbol not in KEEPS_ZERO or node.values == ("sigmoid",):
            break
    raise MorphError("a new branch must end in a layer that can be made to give zeros")
