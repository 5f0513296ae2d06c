"""What primitives and whole trees do to a shape, and how large trees are; both are remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from searchspace.grammar import Grammar
from searchspace.scope import Scope
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.tree import Node

HELD = 60_000
"""Specs that a table holds before it forgets them all and begins anew: some 20 MB."""


class Effects:
    """What the primitives and trees of one grammar do."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._applied: dict[tuple[str, Scope], dict[TensorSpec, TensorSpec | None]] = {}
        self._answers = 0
        self._specs: dict[TensorSpec, TensorSpec] = {}
        self._flows: dict[tuple[Node, TensorSpec], TensorSpec | None] = {}
        self._measures: dict[Node, tuple[int, int]] = {}

    # What one primitive does.

    def applied(
        self, name: str, values: Scope, spec: TensorSpec, inner: Sequence[TensorSpec] = ()
    ) -> TensorSpec | None:
        """The spec that leaves a primitive, from those that leave its sequences; None: unserved."""
        if inner:
            return self._result(name, values, spec, inner)  # seldom asked for again
        known = self._applied.get((name, values))
        if known is None:
            known = self._applied[name, values] = {}
        found = known.get(spec, spec)
        if found is spec and spec not in known:
            self._answers += 1
            if self._answers > HELD:
                self._answers = 1
                self._applied.clear()
            found = known[spec] = self._result(name, values, spec, ())
        return found

    def _result(
        self, name: str, values: Scope, spec: TensorSpec, inner: Sequence[TensorSpec]
    ) -> TensorSpec | None:
        primitive = self.grammar.primitives[name]
        try:
            out = self.within(primitive.result(spec, primitive.named(values), inner))
        except ShapeError:
            return None
        if len(self._specs) >= HELD:
            self._specs.clear()
        return None if out is None else self._specs.setdefault(out, out)

    def inside(self, name: str, values: Scope, spec: TensorSpec) -> TensorSpec | None:
        """The spec that enters a primitive's sequences; None: the primitive does not serve it."""
        primitive = self.grammar.primitives[name]
        try:
            return primitive.inside(spec, primitive.named(values))
        except ShapeError:
            return None

    def times(self, name: str, values: Scope) -> int:
        """How many copies of its sequences a primitive builds."""
        primitive = self.grammar.primitives[name]
        return primitive.copies(primitive.named(values))

    def within(self, spec: TensorSpec | None) -> TensorSpec | None:
        """The spec, or None if it has more elements than the grammar allows."""
        most = self.grammar.limits.elements
        return None if spec is None or (most and spec.elements > most) else spec

    # What a tree does.

    def flow(self, node: Node, spec: TensorSpec) -> TensorSpec | None:
        """The spec that leaves a tree; None: something in it does not serve what reaches it."""
        if node.is_primitive and not node.children:
            return self.applied(node.symbol, node.values, spec)
        key = (node, spec)
        if key in self._flows:
            return self._flows[key]
        if len(self._flows) >= HELD // 16:
            self._flows.clear()
        out = self._flows[key] = self._flow(node, spec)
        return out

    def _flow(self, node: Node, spec: TensorSpec) -> TensorSpec | None:
        if not node.is_primitive:
            return self._through_items(node, spec)
        inner: list[TensorSpec] = []
        if node.children:
            within = self.inside(node.symbol, node.values, spec)
            for group in node.children:
                left = self._through(group, within)
                if left is None:
                    return None
                inner.append(left)
        return self.applied(node.symbol, node.values, spec, inner)

    def _through_items(self, node: Node, spec: TensorSpec | None) -> TensorSpec | None:
        items = self.grammar.rules[node.symbol].alternatives[node.alternative].items
        for item, group in zip(items, node.children, strict=True):
            same = item.repeat is not None and item.repeat.same and len(group) > 1
            left = self._through(group[:1] if same else group, spec)
            if same and left != spec:
                return None
            spec = left
        return spec

    def _through(self, nodes: Iterable[Node], spec: TensorSpec | None) -> TensorSpec | None:
        for node in nodes:
            if spec is None:
                return None
            spec = self.flow(node, spec)
        return spec

    def nodes(self, node: Node) -> int:
        """Nodes of a tree, every copy that is built counted."""
        return self._measured(node)[0]

    def height(self, node: Node) -> int:
        """Nodes on the longest way down a tree."""
        return self._measured(node)[1]

    def _measured(self, node: Node) -> tuple[int, int]:
        found = self._measures.get(node)
        if found is None:
            if len(self._measures) >= HELD // 16:
                self._measures.clear()
            times = self.times(node.symbol, node.values) if node.is_primitive else 1
            inner = [self._measured(child) for child in node.flat()]
            nodes = 1 + times * sum(count for count, _ in inner)
            found = self._measures[node] = (nodes, 1 + max((h for _, h in inner), default=0))
        return found
