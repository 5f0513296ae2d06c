"""Trees that differ from another at one place, where they are larger: derivations to be checked.

Everything else stays: what other values depend on a changed one is computed again, and alternatives
that its value forces are taken where they leave no choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

from searchspace import draws
from searchspace.fillings import FILLINGS, SCOPES, Fillings, holds, scopes
from searchspace.grammar import Domain, Drawn, Grammar, Item, evaluate
from searchspace.layouts import WIDER
from searchspace.tree import PRIMITIVE, Node, Value

_NEXT = 4
"""Larger values of an integer that are tried, beside twice its own."""

Change = tuple[str, str, Node]
"""Place, what changes there, and the tree."""


def changes(grammar: Grammar, root: Node) -> Iterator[Change]:
    """The trees, some of them perhaps no derivations of the grammar, with place and change.

    Of integers the next larger values are tried and twice the value, of words those for larger
    kernels; of what repeats, one copy more of the last; of rules, alternatives that hold what
    is there, and what they can hold beside it.
    """
    yield from _Changes(grammar).rule(root, root.symbol)


class _Changes(Fillings):
    """Changes of the trees of one grammar."""

    def rule(self, node: Node, where: str) -> Iterator[Change]:
        """Changes within an expansion of a rule."""
        alternative = self.grammar.rules[node.symbol].alternatives[node.alternative]
        arity = len(node.values) - len(alternative.draws)
        for index, (name, domain) in enumerate(alternative.draws, arity):
            for value in _larger(domain, node.values[index]):
                scope = (*node.values[:index], value, *node.values[index + 1 :])
                if draws.keeps(alternative, scope):
                    changed = self.expansion(node, scope)
                    if changed is not None:
                        yield where, f"{name} {node.values[index]} -> {value}", changed
        for g, (item, group) in enumerate(zip(alternative.items, node.children, strict=True)):
            for place, change, new in self.group(item, group, where):
                children = (*node.children[:g], new, *node.children[g + 1 :])
                yield place, change, _with(node, children)
        for other in self.others(node, arity):
            yield where, f"alternative {node.alternative} -> {other.alternative}", other

    def group(
        self, item: Item, group: tuple[Node, ...], where: str
    ) -> Iterator[tuple[str, str, tuple[Node, ...]]]:
        """Changes within what one item became."""
        repeat = item.repeat
        count, more = repeat.count if repeat is not None else None, len(group) + 1
        if group and isinstance(count, Drawn) and more in count.domain.values:
            yield f"{where}/{item.symbol}", f"{len(group)} -> {more}", (*group, group[-1])
        same = repeat is not None and repeat.same
        for i, child in enumerate(group[:1] if same else group):
            number = f"[{i}]" if len(group) > 1 and not same else ""
            for place, change, new in self.item(item, child, f"{where}/{item.symbol}{number}"):
                copies = (new,) * len(group) if same else (*group[:i], new, *group[i + 1 :])
                yield place, change, copies

    def item(self, item: Item, node: Node, where: str) -> Iterator[Change]:
        """Changes of a rule or primitive, of its arguments first."""
        for index, scalar in enumerate(item.scalars):
            if not isinstance(scalar, Drawn):
                continue
            for value in _larger(scalar.domain, node.values[index]):
                values = (*node.values[:index], value, *node.values[index + 1 :])
                changed: Node | None = Node(node.symbol, PRIMITIVE, values, node.children)
                if not item.is_primitive:
                    changed = self.refit(node, values[: len(item.scalars)])
                if changed is not None:
                    yield where, f"{scalar.domain.name} {node.values[index]} -> {value}", changed
        if not item.is_primitive:
            yield from self.rule(node, where)
            return
        for g, (row, group) in enumerate(zip(item.groups, node.children, strict=True)):
            for i, (inner, child) in enumerate(zip(row, group, strict=True)):
                for place, change, new in self.item(inner, child, f"{where}/{inner.symbol}"):
                    body = (*group[:i], new, *group[i + 1 :])
                    children = (*node.children[:g], body, *node.children[g + 1 :])
                    yield place, change, _with(node, children)

    def refit(self, node: Node, arguments: tuple[Value, ...]) -> Node | None:
        """An expansion for other arguments; None where they leave a choice, or nothing."""
        if node.values[: len(arguments)] == arguments:
            return node
        alternatives = self.grammar.rules[node.symbol].alternatives
        scope = (*arguments, *node.values[len(arguments) :])
        if draws.keeps(alternatives[node.alternative], scope):
            return self.expansion(node, scope)
        found = list(islice(self.expansions(node.symbol, arguments), 2))
        return found[0] if len(found) == 1 else None

    def expansion(self, node: Node, scope: tuple[Value, ...]) -> Node | None:
        """The same alternative with other variables."""
        items = self.grammar.rules[node.symbol].alternatives[node.alternative].items
        children = []
        for item, group in zip(items, node.children, strict=True):
            new = self.refitted(item, group, scope)
            if new is None:
                return None
            children.append(new)
        return Node(node.symbol, node.alternative, scope, tuple(children), node.scheme)

    def refitted(
        self, item: Item, group: tuple[Node, ...], scope: Sequence[Value]
    ) -> tuple[Node, ...] | None:
        """What an item became, for other variables; copies of the last where there are more."""
        if item.repeat is not None and not isinstance(item.repeat.count, Drawn):
            count = evaluate(item.repeat.count, scope)
            if not isinstance(count, int) or count < len(group) or (count and not group):
                return None
            group = group + group[-1:] * (count - len(group))
        found = [self.adapted(item, node, scope) for node in group]
        return None if None in found else tuple(node for node in found if node is not None)

    def adapted(self, item: Item, node: Node, scope: Sequence[Value]) -> Node | None:
        """A node for other variables of the rule around it; None where it is of another form."""
        values = tuple(
            [
                old if isinstance(scalar, Drawn) else evaluate(scalar, scope)
                for scalar, old in zip(item.scalars, node.values, strict=False)
            ]
        )
        if not item.is_primitive:
            return self.refit(node, values)
        rows = [[inner.symbol for inner in row] for row in item.groups]
        if rows != [[child.symbol for child in group] for group in node.children]:
            return None
        children = []
        for row, group in zip(item.groups, node.children, strict=True):
            body = [self.adapted(i, child, scope) for i, child in zip(row, group, strict=True)]
            if None in body:
                return None
            children.append(tuple(child for child in body if child is not None))
        return Node(node.symbol, PRIMITIVE, values, tuple(children))

    def others(self, node: Node, arity: int) -> Iterator[Node]:
        """Expansions by other alternatives that hold what is there, or the rule itself again."""
        arguments = node.values[:arity]
        rule = self.grammar.rules[node.symbol]
        old = rule.alternatives[node.alternative]
        there = [
            (item, group)
            for item, group in zip(old.items, node.children, strict=True)
            if item.symbol != "identity"
        ]
        for index, alternative in enumerate(rule.alternatives):
            if any(item.repeat for item in alternative.items):
                continue
            for scope in islice(scopes(alternative, arguments), SCOPES):
                if index != node.alternative:
                    for children in self.beside(alternative.items, there, scope):
                        yield self.made(node.symbol, index, scope, children)
                if holds(alternative.items, node.symbol):
                    for children in self.around(alternative.items, node, scope):
                        yield self.made(node.symbol, index, scope, children)

    def beside(
        self,
        items: Sequence[Item],
        there: Sequence[tuple[Item, tuple[Node, ...]]],
        scope: tuple[Value, ...],
    ) -> Iterator[tuple[tuple[Node, ...], ...]]:
        """Children of items of which some are there already, in the same order."""
        symbols = iter([item.symbol for item in items])
        if not all(item.symbol in symbols for item, _ in there):
            return
        left = list(there)
        options: list[list[tuple[Node, ...]]] = []
        for item in items:
            if left and left[0][0].symbol == item.symbol and left[0][0].repeat is None:
                group = self.refitted(item, left.pop(0)[1], scope)
                options.append([] if group is None else [group])
            else:
                fillings = islice(self.fillings(item, scope, None), FILLINGS)
                options.append([(made,) for made, _ in fillings])
        if not left:
            yield from islice(product(*options), FILLINGS)

    def around(
        self, items: Sequence[Item], node: Node, scope: tuple[Value, ...]
    ) -> Iterator[tuple[tuple[Node, ...], ...]]:
        """Children of items of which one is, or holds, the node that is there."""
        options = [list(self.fillings(item, scope, node)) for item in items]
        for combination in product(*options):
            if sum(used for _, used in combination) == 1:
                yield tuple((made,) for made, _ in combination)


def _with(node: Node, children: tuple[tuple[Node, ...], ...]) -> Node:
    return Node(node.symbol, node.alternative, node.values, children, node.scheme)


def _larger(domain: Domain, value: Value) -> list[Value]:
    if not isinstance(value, int):
        return [word for word in domain.values if word in WIDER.get(value, ())]
    above = sorted(v for v in domain.values if isinstance(v, int) and v > value)
    return [*above[:_NEXT], *(v for v in above[_NEXT:] if v == 2 * value)]
