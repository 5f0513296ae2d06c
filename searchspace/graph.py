"""The data flow of an architecture as a graph: layers as nodes, tensors as edges.

The graph has one source and one sink. A composite is a `split` node, its bodies and one `join` node
or several, wired as `searchspace.wiring` says.

Nodes are numbered in an order in which data may flow. Each has the attributes

- `kind`: `input`, `output`, `primitive`, `split`, `join`, or `pass` where data go on as they are;
- `name`, `values`, `family`: the primitive's, its scalar arguments by name, its file; of a split
  and a join, the name is what is done;
- `before`, `after`: specs of what enters it (of a join, first) and of what leaves it;
- `parameters`: those of this node alone, in training form;
- `count`: how often it stands in a row;
- `group`: index in `graph.graph["groups"]` of the innermost `Group` around it, or None.

Edges have `spec`, and `skip` where they pass the body of a residual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

import networkx as nx

from searchspace.build import flow, part_names, primitive_of
from searchspace.parameters import own_parameters
from searchspace.primitives import FAMILIES
from searchspace.rows import Row, repeated, spliced, within
from searchspace.shapes import TensorSpec
from searchspace.tree import Node, Value
from searchspace.wiring import SPLIT, Joint, Port, Wiring, wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Nodes that belong together: what a rule, a block, a composite or one of its bodies holds."""

    kind: Literal["rule", "block", "composite", "body", "row"]
    """A `row` is several parts that come again in the same order."""
    before: TensorSpec
    """Spec of the input."""
    after: TensorSpec
    """Spec of the output."""
    parent: int | None
    """Index of the group around it."""
    count: int = 1
    """How often it stands in a row; of a body, how often beside itself."""
    name: str = ""
    """Of the rule or composite; empty for a body or row."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """Scalar arguments of a composite, by name."""
    path: str = ""
    """Module path of a rule or an outermost block in the built network; empty for all else."""
    scheme: str = ""
    """Precision scheme of a block; empty for all else."""


def graph(root: Node, spec: TensorSpec, *, fold: bool = False) -> nx.DiGraph:
    """The data flow of a tree for inputs of `spec`.

    Args:
        root: the tree.
        spec: input of its network.
        fold: draw equal parts in a row once, with their number as `count`.

    Raises:
        ShapeError: a primitive does not serve the shape that reaches it; names the place.
    """
    flow(root, spec)
    drawing = _Drawing(fold)
    source = drawing.add("input", spec, spec)
    names = part_names([child.symbol for child in root.flat()])
    row = list(zip(root.flat(), names, strict=True))
    last, after = drawing.row(spliced(row, root.symbol), spec, source, None)
    drawing.link(last, drawing.add("output", after, after))
    drawing.graph.graph["groups"] = tuple(drawing.groups)
    return drawing.graph


class _Drawing:
    """A graph that grows along the data flow."""

    def __init__(self, fold: bool) -> None:
        self.graph = nx.DiGraph()
        self.groups: list[Group] = []
        self.fold = fold

    def add(self, kind: str, before: TensorSpec, after: TensorSpec, **more: Any) -> int:
        number = len(self.graph)
        unnamed = {"name": "", "values": {}, "family": "", "parameters": 0}
        place = {"count": 1, "group": None}
        specs = {"before": before, "after": after}
        self.graph.add_node(number, kind=kind, **{**unnamed, **place, **specs, **more})
        return number

    def link(self, source: int, target: int, *, skip: bool = False) -> None:
        self.graph.add_edge(source, target, skip=skip, spec=self.graph.nodes[source]["after"])

    def begin(self, group: Group) -> int:
        self.groups.append(group)
        return len(self.groups) - 1

    def row(
        self, row: Row, spec: TensorSpec, source: int, group: int | None
    ) -> tuple[int, TensorSpec]:
        """Append parts in a row behind `source`; the last node, and the spec that leaves it."""
        start = 0
        while start < len(row):
            length, count = repeated(row, start) if self.fold else (1, 1)
            parts = row[start : start + length]
            after = spec
            for node, _ in parts:
                after = flow(node, after)
            if count > 1 and after != spec:
                # Copies that change the shape are built differently, however equal their nodes.
                parts, length, count = parts[:1], 1, 1
                after = flow(parts[0][0], spec)
            if length > 1:
                around = self.begin(
                    Group(kind="row", before=spec, after=after, parent=group, count=count)
                )
                source, _ = self.row(parts, spec, source, around)
            else:
                source = self.part(*parts[0], count, spec, after, source, group)
            spec = after
            start += length * count
        return source, spec

    def part(
        self,
        node: Node,
        path: str,
        count: int,
        spec: TensorSpec,
        after: TensorSpec,
        source: int,
        group: int | None,
    ) -> int:
        """Append a rule, a composite or a layer; its last node."""
        if node.is_primitive:
            append = self.composite if node.children else self.layer
            return append(node, count, spec, after, source, group)
        around = self.begin(
            Group(
                kind="block" if node.is_block else "rule",
                before=spec,
                after=after,
                parent=group,
                count=count,
                name=node.symbol,
                path=path,
                scheme=node.scheme,
            )
        )
        inner = within(node, "" if node.is_block else path)
        return self.row(spliced(inner, node.symbol), spec, source, around)[0]

    def layer(
        self,
        node: Node,
        count: int,
        spec: TensorSpec,
        after: TensorSpec,
        source: int,
        group: int | None,
    ) -> int:
        number = self.add(
            "primitive",
            spec,
            after,
            name=node.symbol,
            values=primitive_of(node).named(node.values),
            family=FAMILIES.get(node.symbol, ""),
            parameters=own_parameters(node.symbol, node.values, spec, 0),
            count=count,
            group=group,
        )
        self.link(source, number)
        return number

    def composite(
        self,
        node: Node,
        count: int,
        spec: TensorSpec,
        after: TensorSpec,
        source: int,
        group: int | None,
    ) -> int:
        """Append a split, the bodies and the joins; the last join."""
        primitive = primitive_of(node)
        named = primitive.named(node.values)
        bodies = list(node.children) * primitive.copies(named)
        plan = wiring(node.symbol, named, len(bodies))
        around = self.begin(
            Group(
                kind="composite",
                before=spec,
                after=after,
                parent=group,
                count=count,
                name=node.symbol,
                values=named,
            )
        )
        entering = primitive.inside(spec, named)
        split = self.add("split", spec, entering, name=plan.split, group=around)
        self.link(source, split)
        made = {SPLIT: split}
        if self.fold and plan.is_parallel:
            runs = [list(run) for _, run in groupby(bodies)]
            ends = [self.body(run[0], len(run), entering, split, around) for run in runs]
            made |= {("body", i): end for i, end in enumerate(ends)}
            plan = Wiring((), (Joint(plan.joints[0].name, tuple(made)[1:]),), plan.split)
        for index, (entry, body) in enumerate(zip(plan.entries, bodies, strict=False)):
            self.joined(plan, entry, made, entering, around)
            made["body", index] = self.body(body, 1, entering, made[entry], around)
        last: Port = ("joint", len(plan.joints) - 1)
        self.joined(plan, last, made, after, around)
        self.graph.nodes[made[last]]["parameters"] = own_parameters(
            node.symbol, node.values, spec, len(bodies)
        )
        return made[last]

    def joined(
        self, plan: Wiring, port: Port, made: dict[Port, int], after: TensorSpec, around: int
    ) -> None:
        """Append a join, unless it is made, and those that it needs."""
        if port in made:
            return
        joint = plan.joints[port[1]]
        for entry in joint.inputs:
            self.joined(plan, entry, made, after, around)
        # A lone input is not joined: it is where edges part.
        kind = "join" if len(joint.inputs) > 1 or port[1] == len(plan.joints) - 1 else "pass"
        before = self.graph.nodes[made[joint.inputs[0]]]["after"]
        made[port] = self.add(kind, before, after, name=joint.name, group=around)
        for entry in joint.inputs:
            skip = joint.skip and entry == joint.inputs[-1]
            self.link(made[entry], made[port], skip=skip)

    def body(
        self, nodes: Sequence[Node], count: int, spec: TensorSpec, source: int, around: int
    ) -> int:
        """Append a body behind `source`; its last node."""
        row = spliced([(node, "") for node in nodes], "")
        after = spec
        for node, _ in row:
            after = flow(node, after)
        group = self.begin(Group(kind="body", before=spec, after=after, parent=around, count=count))
        if row:
            return self.row(row, spec, source, group)[0]
        number = self.add("pass", spec, spec, group=group)
        self.link(source, number)
        return number
