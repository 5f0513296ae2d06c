"""Whether a layer may follow from a smaller one, and which channels leave it then."""

from __future__ import annotations

from searchspace.build import primitive_of
from searchspace.flows import Copies, Flow, MorphError, spread
from searchspace.layouts import GATES, WIDER, Layout
from searchspace.tree import Node, Value

_BY_MODE = ("last_linear", "mode_norm", "learned_position")


def leaving(layout: Layout, old: Node, new: Node, entering: Flow) -> Copies:
    """The channels that leave a layer.

    Args:
        layout: that of the layer.
        old: the layer in the smaller network.
        new: the layer in the larger one.
        entering: what enters it.

    Raises:
        MorphError: the layer cannot compute the same; says why.
    """
    name, named = new.symbol, primitive_of(new).named
    before, after = named(old.values), named(new.values)
    for key in before:
        if before[key] != after[key] and not _grown(before[key], after[key], key, layout):
            raise MorphError(
                f"the {key} of '{name}' must not go from {before[key]} to {after[key]}"
            )
    summed = any("i" in letters for letters in layout.weights.values())
    if not (layout.weights or layout.kernels) or (
        entering.factor != 1 and not (summed or layout.absorbs)
    ):
        raise MorphError(f"'{name}' must stay as it is, and what enters it")
    if entering.factor != 1 and name in (*GATES, "token_pool"):
        raise MorphError(f"'{name}' must get what it got")
    if entering.copies is not None and (layout.fixed or (layout.even and not entering.even)):
        raise MorphError(f"'{name}' must have the channels that it had, all as often")
    _special(layout, old, new, entering)
    if "out" in after and name != "grouped_conv":
        one, other = int(before["out"]), int(after["out"])
        return None if one == other else spread(one, other)
    return None if name == "classifier" else entering.copies


def _grown(old: Value, new: Value, key: str, layout: Layout) -> bool:
    if layout.kernels and new in WIDER.get(old, ()):
        return True
    if key not in layout.grows or not isinstance(old, int) or not isinstance(new, int):
        return False
    return new > old and (key != "kernel" or (old % 2 == 1 and new % 2 == 1))


def _special(layout: Layout, old: Node, new: Node, entering: Flow) -> None:
    """What the table cannot say in letters."""
    a, b = entering.old.channels, entering.new.channels
    if new.symbol == "grouped_conv" and (
        (new.values[-1] != 1 or (old.values[0], new.values[0]) != (a, b))
        if entering.copies is not None
        else old.values[0] != new.values[0]
    ):
        raise MorphError("'grouped_conv' must have a group for each channel")
    if new.symbol in _BY_MODE and entering.old.mode != "tokens":
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
