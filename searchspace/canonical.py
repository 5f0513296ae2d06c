"""What an architecture computes, in a form that all trees of the same function share.

Trees of one canonical form compute the same, for all weights, up to which weight has which name.
Therefore these make no difference:

- how rules arrange and bracket what data flow through in a row; `identity`, wherever it stands;
- the order and the nesting of branches that are added, multiplied (also those of `residual`, `dag`
  and the forks that only clone) and the nesting of concatenations;
- what never reaches the output: all before a `zero`, branches that a zero is multiplied with, zeros
  that are added. Its weights are not part of the form: they change no output and get no gradient;
- where a pool of stride 1 stands among what is the same at every place of an image, because it was
  made of zeros;
- layers without weights that undo one another, do nothing to what they get, or that another name
  stands for (`searchspace.laws`), and whether such a layer is computed once or twice.

Equality is that of real numbers: sums in another order round differently. These do make one: how
many weights there are and who shares them (two readers of one layer are not two layers), how
weights start (so layers with weights are equal only by name), what is random in training, and the
precision scheme of a block, whose inside is compared for itself. What is dropped still costs time
and memory: trees of one form may differ in price. Not every equality is found: linear layers are
not moved through sums, nor products over them.

Of NAS-Bench-201's 15,625 cells, 5,450 differ in this form. The paper's 6,466 are those that differ
in a string: `searchspace.nasbench201.topology`. Two of one such string have one form wherever they
compute the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from searchspace.architecture import Architecture
from searchspace.build import flow, primitive_of
from searchspace.expression import ZERO, Expression, Row, sequence, term
from searchspace.joins import ADD, CONCAT, JOINS, OPENED, Graph, apart, joined, opens
from searchspace.laws import FREE, both, needless, passes_level, plainest, zero_at_zero
from searchspace.primitives import PRIMITIVES
from searchspace.shapes import TensorSpec
from searchspace.tree import FLOAT, Node, Value

_REMEMBERED = 1 << 14
"""Subtrees whose terms are kept."""


def canonical(root: Node, spec: TensorSpec) -> Expression:
    """The canonical term of a tree for inputs of `spec`.

    Raises:
        ShapeError: a primitive does not serve the shape that reaches it.
    """
    try:
        return sequence(_terms(root, spec, False)[0])
    except ValueError:
        flow(root, spec)  # names the place
        raise


def canonical_key(architecture: Architecture, spec: TensorSpec) -> str:
    """16 hexadecimal digits, the same in every process for architectures of one canonical form.

    Raises:
        ShapeError: a primitive does not serve the shape that reaches it.
    """
    digest = canonical(architecture.root, spec).digest + str(spec).encode()
    return hashlib.blake2b(digest, digest_size=8).hexdigest()


@lru_cache(maxsize=_REMEMBERED)
def _terms(node: Node, spec: TensorSpec, covered: bool) -> tuple[Row, TensorSpec]:
    """The terms in a row of a node, and the spec that leaves it.

    Args:
        node: a rule or primitive.
        spec: what enters it.
        covered: whether it is inside a block, whose scheme counts alone.
    """
    if node.is_primitive:
        return _composite(node, spec, covered) if node.children else _layer(node, spec)
    row, out = _row(node.flat(), spec, covered or node.is_block)
    if row and not covered and node.scheme not in ("", FLOAT):
        row = (term(f"@{node.scheme}", (), (sequence(row),)),)
    return row, out


def _row(
    nodes: Iterable[Node], spec: TensorSpec, covered: bool, start: Row = ()
) -> tuple[Row, TensorSpec]:
    """The terms of nodes in a row, behind those of `start`."""
    row = list(start)
    for node in nodes:
        terms, spec = _terms(node, spec, covered)
        for new in terms:
            _append(row, new)
    return tuple(row), spec


def _append(row: list[Expression], new: Expression) -> None:
    """Add a term to a row, and draw together what now becomes less."""
    if new.operator == ZERO:
        row[:] = [new]
        return
    last = row[-1] if row else None
    if last is not None and last.operator == ZERO and zero_at_zero(new):
        row[-1] = _zero(_after(new))
        return
    if row and row[0].operator == ZERO and (new.operator in OPENED or passes_level(new)):
        row[:] = _constant(tuple(row), new)
        return
    if last is not None and opens(last, new):
        graph = Graph()
        row[-1:] = graph.row(graph.apply((last, new), 0))
        return
    if last is not None and new.free and not new.parts:
        if needless(row, new):
            return
        less = both(last, new)
        if less is not None:
            row.pop()
            for instead in less:
                _append(row, instead)
            return
    row.append(new)


def _constant(row: Row, join: Expression) -> Row:
    """The terms of a row of constants and of a join behind it, whose parts may be constants too."""
    if len(row) == 1 and join.operator in JOINS:
        # Zeros can be made twice: what they become in each part alone may be less.
        return _join(join.operator, join.values, [_behind(row[0], p.row) for p in join.parts])
    graph = Graph()
    return graph.row(graph.apply((*row, join), 0))


def _behind(first: Expression, terms: Row) -> Row:
    row = [first]
    for new in terms:
        _append(row, new)
    return tuple(row)


def _zero(spec: TensorSpec) -> Expression:
    return term(ZERO, free=True, spec=spec)


def _after(layer: Expression) -> TensorSpec:
    assert layer.spec is not None
    primitive = PRIMITIVES[layer.operator]
    return primitive.result(layer.spec, primitive.named(layer.values), ())


def _layer(node: Node, spec: TensorSpec) -> tuple[Row, TensorSpec]:
    primitive = primitive_of(node)
    out = primitive.result(spec, primitive.named(node.values), ())
    step = plainest(node.symbol, node.values, spec)
    if step is None:
        return (), out
    name, values = step
    return (term(name, values, free=name in FREE, spec=spec),), out


def _composite(node: Node, spec: TensorSpec, covered: bool) -> tuple[Row, TensorSpec]:
    primitive = primitive_of(node)
    named = primitive.named(node.values)
    within = primitive.inside(spec, named)
    bodies = [_row(group, within, covered) for group in node.children]
    out = primitive.result(spec, named, [after for _, after in bodies])
    rows = [row for row, _ in bodies]
    if node.symbol == "dag":
        return _dag(node, spec, covered), out
    if node.symbol == "residual":
        return _join(ADD, (), [(), *rows]), out
    join = str(named.get("join", ""))
    if node.symbol == "branch":
        if join == CONCAT:
            return _join(CONCAT, (2 if out.mode == "tokens" else 1,), rows), out
        return _join(join, (), rows), out
    if node.symbol in ("fork", "fork_copies"):
        rows *= primitive.copies(named)
        if not any(rows) and str(named["split"]).replace("group", CONCAT) == join:
            return (), out
        if named["split"] == "clone" and join == ADD:
            return _join(ADD, (), rows), out
        if named["split"] == "clone" and join.startswith(CONCAT):
            return _join(CONCAT, (int(join[-1]),), rows), out
    parts = tuple([sequence(row) for row in rows])
    return (term(node.symbol, node.values, parts, spec=spec),), out


def _join(kind: str, values: tuple[Value, ...], rows: list[Row]) -> Row:
    """The terms of rows side by side on one input, joined."""
    if apart(rows):
        return (joined(kind, values, rows),)
    graph = Graph()
    return graph.row(graph.join(kind, values, [graph.apply(row, 0) for row in rows]))


def _dag(node: Node, spec: TensorSpec, covered: bool) -> Row:
    """The terms of a `dag`: its nodes are values, sums of what the edges bring."""
    graph = Graph()
    values, edges = [0], iter(node.children)
    for first in edges:
        inputs: list[int] = []
        for value in values:
            body = next(edges) if inputs else first
            zero = graph.zero(value)
            row = _row(body, spec, covered, () if zero is None else (zero,))[0]
            inputs.append(graph.apply(row, value))
        values.append(graph.join(ADD, (), inputs))
    return graph.row(values[-1])
