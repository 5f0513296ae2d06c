"""Trees to modules: first to a plan of constructor calls, then to objects or, elsewhere, to source.

Both the module in memory and the exported source come from the same plan, so their parameters have
the same names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from searchspace.primitives import PRIMITIVES
from searchspace.primitives.base import Primitive
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.tree import Node

_SEQUENTIAL = nn.Sequential()


@dataclass(frozen=True, slots=True)
class Call:
    """One constructor call of a plan."""

    primitive: Primitive
    arguments: dict[str, int | float | str | bool]
    """Keyword arguments."""
    bodies: tuple[tuple[Call, ...], ...]
    """For composites: the calls of each sequence argument, as many times as it is built."""


@dataclass(frozen=True, slots=True)
class Part:
    """A named part of a network: one block, or a row of parts."""

    name: str
    content: tuple[Call, ...] | tuple[Part, ...]
    """Calls of a block (or of loose primitives), or the blocks of a row."""

    def paths(self, prefix: str = "") -> Iterator[str]:
        """Module path of every block within, in order."""
        path = f"{prefix}{self.name}"
        if any(isinstance(content, Call) for content in self.content):
            yield path
        for part in self.content:
            if isinstance(part, Part):
                yield from part.paths(f"{path}.")


def primitive_of(node: Node) -> Primitive:
    """The primitive of a terminal node.

    Raises:
        ShapeError: there is none of that name here.
        PrimitiveError: another package has it, and it cannot be loaded.
    """
    try:
        return PRIMITIVES[node.symbol]
    except KeyError:
        known = ", ".join(sorted(PRIMITIVES))
        raise ShapeError(
            f"no primitive '{node.symbol}'; known are {known}; one of another package must be "
            "installed, or given by '--primitive package.module:NAME'"
        ) from None


def leaves(node: Node) -> Iterator[Node]:
    """The primitives that a node arranges in sequence; composites are not entered."""
    if node.is_primitive:
        yield node
        return
    for child in node.flat():
        yield from leaves(child)


def flow(node: Node, spec: TensorSpec, where: str = "") -> TensorSpec:
    """The spec that leaves a node when `spec` enters it, by arithmetic alone.

    Raises:
        ShapeError: a primitive does not serve its input; names the place in the tree.
    """
    place = f"{where}/{node.symbol}".lstrip("/")
    if not node.is_primitive:
        for child in node.flat():
            spec = flow(child, spec, place)
        return spec
    primitive = primitive_of(node)
    _wrong(primitive, node, place)
    named = primitive.named(node.values)
    try:
        within = primitive.inside(spec, named)
    except ShapeError as fault:
        raise ShapeError(f"at {place}: {fault}") from None
    inner = []
    for group in node.children:
        out = within
        for child in group:
            out = flow(child, out, place)
        inner.append(out)
    try:
        return primitive.result(spec, named, inner)
    except ShapeError as fault:
        raise ShapeError(f"at {place}: {fault}") from None


def _wrong(primitive: Primitive, node: Node, place: str) -> None:
    """Raise unless a primitive may have the values and sequences that its node gives it."""
    if len(node.values) != len(primitive.parameters):
        count = len(primitive.parameters)
        raise ShapeError(f"at {place}: {count} values are needed; got {node.values}")
    for parameter, value in zip(primitive.parameters, node.values, strict=True):
        fault = parameter.fault(value)
        if fault:
            raise ShapeError(f"at {place}: {fault}; got {value}")
    groups, got = primitive.groups, len(node.children)
    if got != groups and not got >= -groups > 0:
        least = "at least " if groups < 0 else ""
        raise ShapeError(f"at {place}: {least}{abs(groups)} sequences are needed; got {got}")


def calls(nodes: Sequence[Node], spec: TensorSpec) -> tuple[tuple[Call, ...], TensorSpec]:
    """Constructor calls for a sequence of nodes, and the spec that leaves it."""
    plan = []
    for node in (leaf for outer in nodes for leaf in leaves(outer)):
        primitive = primitive_of(node)
        named = primitive.named(node.values)
        within = primitive.inside(spec, named)
        bodies = tuple(calls(group, within)[0] for group in node.children)
        bodies *= primitive.copies(named)
        arguments = primitive.arguments(spec, named)
        plan.append(Call(primitive, arguments, bodies))
        spec = flow(node, spec)
    return tuple(plan), spec


def plan(root: Node, spec: TensorSpec) -> tuple[Part, ...]:
    """The named parts of a network, in the order that data flow through them.

    A rule's name names its part; where a name occurs more than once, the occurrences are numbered
    from 1. A name that is taken, or that torch's modules have themselves, gets an underscore. Rows
    hold their blocks under `0`, `1`, …

    Raises:
        ShapeError: a primitive does not serve the shape that reaches it; names the place.
    """
    flow(root, spec)
    children = root.flat()
    parts = []
    for name, child in zip(part_names([c.symbol for c in children]), children, strict=True):
        part, spec = _part(name, child, spec)
        parts.append(part)
    return tuple(parts)


def part_names(symbols: Sequence[str]) -> list[str]:
    """A name of its own for each part."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for symbol in symbols:
        seen[symbol] += 1
        name = symbol + (str(seen[symbol]) if symbols.count(symbol) > 1 else "")
        while name in names or hasattr(_SEQUENTIAL, name):
            name += "_"
        names.append(name)
    return names


def _part(name: str, node: Node, spec: TensorSpec) -> tuple[Part, TensorSpec]:
    if node.is_block or node.is_primitive or not any(_holds_block(c) for c in node.flat()):
        content, spec = calls((node,), spec)
        return Part(name, content), spec
    parts = []
    for index, child in enumerate(node.flat()):
        part, spec = _part(str(index), child, spec)
        parts.append(part)
    return Part(name, tuple(parts)), spec


def _holds_block(node: Node) -> bool:
    return node.is_block or any(_holds_block(child) for child in node.flat())


def module_of(call: Call, *, merged: bool = False) -> nn.Module:
    """The module of one call.

    Args:
        merged: build the form that runs at inference, where the primitive has one.
    """
    bodies = [sequence_of(body, merged=merged) for body in call.bodies]
    flags = dict.fromkeys(call.primitive.merged, True) if merged else {}
    return call.primitive.module(*bodies, **call.arguments, **flags)


def sequence_of(plan: Sequence[Call], *, merged: bool = False) -> nn.Module:
    """One module for calls in a row: the module itself if there is one, else a `Sequential`."""
    modules = [module_of(call, merged=merged) for call in plan]
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def build(root: Node, spec: TensorSpec) -> nn.Sequential:
    """The network of a tree, for inputs of `spec`, freshly initialised in training form.

    Random initial values come from torch's global generator; seed it, or fork it, to repeat them.

    Raises:
        ShapeError: a primitive does not serve the shape that reaches it.
    """
    network = nn.Sequential()
    for part in plan(root, spec):
        network.add_module(part.name, _module(part))
    return network


def _module(part: Part) -> nn.Module:
    row = [p for p in part.content if isinstance(p, Part)]
    if row or not part.content:
        return nn.Sequential(*map(_module, row))
    return sequence_of([c for c in part.content if isinstance(c, Call)])
