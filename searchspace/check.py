"""Whether a tree is a derivation of a grammar, and where it is not."""

from __future__ import annotations

from collections.abc import Sequence

from searchspace import draws
from searchspace.build import flow
from searchspace.grammar import Domain, Drawn, Grammar, Item, Scalar, evaluate
from searchspace.table import table_of
from searchspace.tree import Node, Value


class TreeError(ValueError):
    """A tree that the grammar does not generate; the message names the place in the tree."""


def check(grammar: Grammar, root: Node) -> None:
    """Raise unless the grammar generates the tree for its input.

    Raises:
        TreeError: it does not derive, or is larger than the grammar's limits.
        ShapeError: a primitive does not serve what reaches it.
    """
    if root.symbol != grammar.start or root.is_primitive:
        raise TreeError(
            f"a tree of {grammar.name} begins with '{grammar.start}'; got '{root.symbol}'"
        )
    _rule(grammar, root, (), root.symbol)
    table, limits = table_of(grammar), grammar.limits
    if limits.nodes and table.nodes(root) > limits.nodes:
        raise TreeError(f"a tree has at most {limits.nodes} nodes; got {table.nodes(root)}")
    if table.flow(root, grammar.input) is None:
        flow(root, grammar.input)
        most = f" and no tensor may have more than {limits.elements} elements" * bool(
            limits.elements
        )
        raise TreeError(f"what ^^ repeats must keep its shape{most}; this tree breaks that")


def _rule(grammar: Grammar, node: Node, arguments: Sequence[Value], where: str) -> None:
    rule = grammar.rules[node.symbol]
    if not 0 <= node.alternative < len(rule.alternatives):
        count = len(rule.alternatives)
        raise TreeError(f"at {where}: there are {count} alternatives; got {node.alternative}")
    alternative = rule.alternatives[node.alternative]
    arity = len(rule.parameters)
    if node.values[:arity] != tuple(arguments):
        raise TreeError(
            f"at {where}: the arguments must be {tuple(arguments)}; got {node.values[:arity]}"
        )
    drawn = node.values[arity:]
    if len(drawn) != len(alternative.draws):
        names = ", ".join(name for name, _ in alternative.draws) or "nothing"
        raise TreeError(f"at {where}: 'with' draws {names}; got {len(drawn)} values")
    for (name, domain), value in zip(alternative.draws, drawn, strict=True):
        _in_domain(domain, value, f"{where}, {name}")
    if not draws.keeps(alternative, node.values):
        raise TreeError(f"at {where}: the values {node.values} do not keep the constraints")
    schemes = grammar.schemes if rule.is_block else ("",)
    if node.scheme not in schemes:
        raise TreeError(
            f"at {where}: the precision scheme must be one of {', '.join(schemes) or 'none'}; "
            f"got '{node.scheme}'"
        )
    if len(node.children) != len(alternative.items):
        raise TreeError(
            f"at {where}: {len(alternative.items)} items are needed; got {len(node.children)}"
        )
    for item, group in zip(alternative.items, node.children, strict=True):
        _group(grammar, item, group, node.values, where)


def _group(
    grammar: Grammar, item: Item, group: Sequence[Node], scope: Sequence[Value], where: str
) -> None:
    if item.repeat is None:
        if len(group) != 1:
            raise TreeError(f"at {where}: one {item.symbol} is needed; got {len(group)}")
    else:
        _argument(item.repeat.count, len(group), scope, f"{where}, count of {item.symbol}")
        if item.repeat.same and len(set(group)) > 1:
            raise TreeError(f"at {where}: all copies of {item.symbol} must be the same")
    for index, node in enumerate(group):
        _item(grammar, item, node, scope, f"{where}/{item.symbol}[{index}]")


def _item(grammar: Grammar, item: Item, node: Node, scope: Sequence[Value], where: str) -> None:
    if node.symbol != item.symbol or node.is_primitive != item.is_primitive:
        raise TreeError(f"at {where}: '{item.symbol}' is needed; got '{node.symbol}'")
    if len(node.values) < len(item.scalars):
        raise TreeError(f"at {where}: {len(item.scalars)} values are needed; got {node.values}")
    for scalar, value in zip(item.scalars, node.values, strict=False):
        _argument(scalar, value, scope, where)
    if not item.is_primitive:
        _rule(grammar, node, node.values[: len(item.scalars)], where)
        return
    if node.scheme or len(node.values) != len(item.scalars):
        raise TreeError(f"at {where}: a primitive has {len(item.scalars)} values and no scheme")
    if len(node.children) != len(item.groups):
        raise TreeError(f"at {where}: needs {len(item.groups)} sequences; got {len(node.children)}")
    for sequence, group in zip(item.groups, node.children, strict=True):
        if len(sequence) != len(group):
            raise TreeError(f"at {where}: {len(sequence)} items are needed; got {len(group)}")
        for inner, child in zip(sequence, group, strict=True):
            _item(grammar, inner, child, scope, f"{where}/{inner.symbol}")


def _argument(scalar: Scalar, value: Value, scope: Sequence[Value], where: str) -> None:
    if isinstance(scalar, Drawn):
        _in_domain(scalar.domain, value, where)
    elif (wanted := evaluate(scalar, scope)) != value:
        raise TreeError(f"at {where}: the value must be {wanted}; got {value}")


def _in_domain(domain: Domain, value: Value, where: str) -> None:
    if value not in domain.values:
        raise TreeError(f"at {where}: {domain.name} must be one of {domain}; got {value}")
