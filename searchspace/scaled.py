"""Trees scaled in width and depth within their space.

The tree is derived anew, choice by choice: every width and every count becomes the value nearest to
the scaled one that the grammar offers there, all else stays. So what comes out is a tree of the
space. A width that a constraint ties to an argument of its rule, as an expansion to the block's
input, keeps its ratio to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from searchspace import draws
from searchspace.check import TreeError, check
from searchspace.choose import InOrder
from searchspace.derivation import Derivation
from searchspace.grammar import (
    Alternative,
    Comparison,
    Drawn,
    Grammar,
    Item,
    Literal,
    Scalar,
    Variable,
    evaluate,
)
from searchspace.roles import Role, Roles
from searchspace.room import DrawError
from searchspace.scope import Scope, options, variables_of
from searchspace.shapes import ShapeError
from searchspace.table import table_of
from searchspace.tree import PRIMITIVE, Node, Value, walk

_ENDLESS = 10**9
_DEEPEST = 50
"""Rules inside each other that what has no model may have."""
Range = tuple[int, int]


class OutOfSpaceError(ValueError):
    """A scale at which the space has no such tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """By what a network's sizes are multiplied."""

    depth: float = 1.0
    """Layers of every stage."""
    width: float = 1.0
    """Features everywhere."""
    resolution: float = 1.0
    """Height and width of the input."""
    group: float = 1.0
    """Features in one group of a grouped convolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A scaled tree."""

    root: Node
    """The tree; it may still have to be fitted to the shapes: see `fitted`."""
    held: tuple[str, ...]
    """Sizes that could not follow, as the space's values end before: `rule.variable`, sorted."""
    groups: Mapping[str, int]
    """Wanted widths of groups, by the domain that they are drawn from."""


def scaled(grammar: Grammar, root: Node, factors: Factors) -> Scaled:
    """A tree with its widths and depths scaled to the nearest values that its rules allow.

    Depth counts all layers of a stage, those beside the repeated ones as well; at least one stays.
    New layers are copies of their neighbours. Groups of one or two features stay.

    Raises:
        OutOfSpaceError: every size is at the end of its values, or a stage's rule does not allow
            the widths.
    """
    scaling = _Scaling(grammar, root, factors)
    made = scaling.rule(root, ())
    if scaling.sites and scaling.sites == scaling.held:
        raise OutOfSpaceError(f"{grammar.name} holds no network of such a size")
    return Scaled(root=made, held=tuple(sorted(scaling.held)), groups=scaling.groups)


def fitted(grammar: Grammar, tree: Scaled) -> Node:
    """The tree itself if the grammar has it for its input, else the nearest that it has.

    Raises:
        OutOfSpaceError: the input does not serve it.
    """
    try:
        check(grammar, tree.root)
    except (ShapeError, TreeError):
        # A group that does not divide its features, and the like: the nearest tree may do.
        pass
    else:
        return tree.root
    try:
        root = Derivation(table_of(grammar), InOrder(tree.groups)).root(tree.root)
        check(grammar, root)
    except (DrawError, ShapeError, TreeError) as fault:
        raise OutOfSpaceError(str(fault)) from None
    return root


class _Scaling:
    """One scaling of one tree."""

    def __init__(self, grammar: Grammar, root: Node, factors: Factors) -> None:
        self._grammar, self._factors = grammar, factors
        self._roles = _roles(grammar)
        self._models = {node.symbol: node for _, node in walk(root)}
        self._limits: dict[Node, dict[int, Range]] = {}
        self.sites: set[str] = set()
        """Everything that is to be scaled."""
        self.held: set[str] = set()
        """What is at the end of its values."""
        self.groups: dict[str, int] = {}

    # Derivation.

    def rule(self, node: Node, given: Scope) -> Node:
        """The scaled expansion, by the same alternative as far as that is allowed."""
        rule = self._grammar.rules[node.symbol]
        alternative = rule.alternatives[node.alternative]
        if not draws.count(alternative, given):
            if any(inner.is_block for _, inner in walk(node) if inner is not node):
                raise OutOfSpaceError(f"'{node.symbol}' does not take {given}")
            return self._first(node.symbol, given, _DEEPEST)
        scope = given
        for index in range(len(alternative.draws)):
            scope = (*scope, self._variable(node, alternative, scope, len(given), index))
        children = [self._group(node, g, item, scope) for g, item in enumerate(alternative.items)]
        return Node(node.symbol, node.alternative, scope, tuple(children), node.scheme)

    def _variable(
        self, node: Node, alternative: Alternative, scope: Scope, arity: int, index: int
    ) -> Value:
        name, domain = alternative.draws[index]
        place, old = arity + index, node.values[arity + index]
        values = [value for value, _ in draws.options(alternative, arity, index, scope)]
        role = self._roles.variable(alternative, place)
        if role is None or not isinstance(old, int):
            return old if old in values else values[0]
        if role == "depth":
            row = self._row(node, place)
            goal = self._depth(*row) if row else float(old)
        else:
            tie = self._tie(alternative, node.values, scope, arity, place)
            goal = old * (tie if tie and role == "width" else self._factor(role, old))
        low, high = self._within(node, place)
        kept = [v for v in values if isinstance(v, int) and low <= v <= high]
        if not kept:
            raise OutOfSpaceError(f"'{node.symbol}' has no {name} from {low} to {high}")
        ends = [v for v in domain.values if isinstance(v, int) and low <= v <= high]
        self._note(f"{node.symbol}.{name}", role, goal, ends)
        if role == "group":
            self.groups[domain.name] = round(goal)
        return _nearest(kept, goal)

    def _group(self, node: Node, g: int, item: Item, scope: Scope) -> tuple[Node, ...]:
        nodes = node.children[g]
        if item.repeat is None:
            return (self._item(item, nodes[0], scope),)
        scalar = item.repeat.count
        if isinstance(scalar, Drawn):
            values = [int(v) for v in scalar.domain.values]
            count = len(nodes)
            if max(values) > 1:  # what is there or not is no depth
                goal = self._depth(node, g)
                self._note(f"{node.symbol}.{item.symbol}", "depth", goal, values)
                count = _nearest(values, goal)
        else:
            count = int(evaluate(scalar, scope))
        if not nodes:
            model = self._models.get(item.symbol)
            new = self._item(item, model, scope) if model else self._drawn(item, scope, _DEEPEST)
            return (new,) * count
        if item.repeat.same:
            return (self._item(item, nodes[0], scope),) * count
        # Every layer gets about as many copies as every other.
        return tuple(
            [self._item(item, nodes[i * len(nodes) // count], scope) for i in range(count)]
        )

    def _item(self, item: Item, node: Node, scope: Scope) -> Node:
        values = tuple([self._argument(item, i, node, scope) for i in range(len(item.scalars))])
        if not item.is_primitive:
            return self.rule(node, values)
        children = [
            tuple(
                [self._item(inner, child, scope) for inner, child in zip(group, nodes, strict=True)]
            )
            for group, nodes in zip(item.groups, node.children, strict=True)
        ]
        return Node(item.symbol, PRIMITIVE, values, tuple(children))

    def _argument(self, item: Item, index: int, node: Node, scope: Scope) -> Value:
        scalar, old = item.scalars[index], node.values[index]
        if not isinstance(scalar, Drawn):
            return evaluate(scalar, scope)
        role = self._roles.argument(item, index)
        if role is None or not isinstance(old, int):
            return old
        values = [int(v) for v in scalar.domain.values]
        goal = old * self._factor(role, old)
        self._note(f"{item.symbol}.{scalar.domain.name}", role, goal, values)
        if role == "group":
            self.groups[scalar.domain.name] = round(goal)
        return _nearest(values, goal)

    def _first(self, symbol: str, given: Scope, room: int) -> Node:
        """The first expansion of a rule that its constraints allow."""
        rule = self._grammar.rules[symbol]
        fits = [i for i, a in enumerate(rule.alternatives) if draws.count(a, given)]
        if not fits or not room:
            raise OutOfSpaceError(f"'{symbol}' does not take {given}")
        alternative, scope = rule.alternatives[fits[0]], given
        for index in range(len(alternative.draws)):
            scope = (*scope, draws.options(alternative, len(given), index, scope)[0][0])
        children = []
        for item in alternative.items:
            counts = (1,) if item.repeat is None else options(item.repeat.count, scope)
            children.append((self._drawn(item, scope, room - 1),) * int(counts[0]))
        scheme = self._grammar.schemes[0] if rule.is_block else ""
        return Node(symbol, fits[0], scope, tuple(children), scheme)

    def _drawn(self, item: Item, scope: Scope, room: int) -> Node:
        """The first tree of an item."""
        values = tuple([options(scalar, scope)[0] for scalar in item.scalars])
        if not item.is_primitive:
            return self._first(item.symbol, values, room)
        groups = [tuple([self._drawn(i, scope, room) for i in group]) for group in item.groups]
        return Node(item.symbol, PRIMITIVE, values, tuple(groups))

    # What is wanted.

    def _factor(self, role: Role, old: int) -> float:
        if role == "width":
            return self._factors.width
        return self._factors.group if role == "group" and old > 2 else 1.0

    def _tie(
        self, alternative: Alternative, old: Scope, new: Scope, arity: int, place: int
    ) -> float | None:
        """The factor of a width among the arguments that a constraint ties this one to."""
        mine = old[place]
        for comparison in alternative.where:
            sides = {
                v.index for side in (comparison.left, comparison.right) for v in variables_of(side)
            }
            for index in sorted(sides) if place in sides else ():
                other, made = old[index], new[index] if index < arity else 0
                if isinstance(mine, int) and isinstance(other, int) and isinstance(made, int):
                    whole = min(mine, other) > 0 and not max(mine, other) % min(mine, other)
                    if made and whole:
                        return made / other
        return None

    def _row(self, node: Node, place: int) -> tuple[Node, int] | None:
        """The node and the place of the item that a variable is the count of, here or below."""
        alternative = self._grammar.rules[node.symbol].alternatives[node.alternative]
        for g, item in enumerate(alternative.items):
            if item.repeat is not None and item.repeat.count == _variable(item.repeat.count, place):
                return node, g
        for item, group in zip(alternative.items, node.children, strict=True):
            for index, scalar in enumerate(item.scalars if not item.is_primitive else ()):
                if group and scalar == _variable(scalar, place):
                    found = self._row(group[0], index)
                    if found is not None:
                        return found
        return None

    def _depth(self, node: Node, g: int) -> float:
        """Copies that are wanted of a repeated item."""
        copies = len(node.children[g])
        beside = self._beside(node, g)
        return max(1, round((copies + beside) * self._factors.depth)) - beside

    def _beside(self, node: Node, g: int) -> int:
        """Items next to a repeated one that are layers like its copies, by their size."""
        table = table_of(self._grammar)
        others = [child for i, group in enumerate(node.children) if i != g for child in group]
        sizes = [table.nodes(child) for child in others]
        like = table.nodes(node.children[g][0]) if node.children[g] else max(sizes, default=0)
        return sum(like <= 2 * size and size <= 2 * like for size in sizes)

    def _note(self, site: str, role: Role, goal: float, values: Sequence[int]) -> None:
        """Keep in mind what is scaled, and what cannot follow."""
        if self._factors.width == 1 and self._factors.depth == 1:
            return
        if role == "group":
            return
        self.sites.add(site)
        if not min(values) <= goal <= max(values):
            self.held.add(site)

    # What rules below allow.

    def _within(self, node: Node, place: int) -> Range:
        return self._ranges(node).get(place, (0, _ENDLESS))

    def _ranges(self, node: Node) -> dict[int, Range]:
        """Ranges of a rule's variables that the alternatives taken from there down need."""
        found = self._limits.get(node)
        if found is None:
            alternative = self._grammar.rules[node.symbol].alternatives[node.alternative]
            found = self._limits[node] = {}
            for comparison in alternative.where:
                _meet(found, *_range(comparison))
            for item, group in zip(alternative.items, node.children, strict=True):
                for child in dict.fromkeys(group):
                    self._below(item, child, found)
        return found

    def _below(self, item: Item, node: Node, found: dict[int, Range]) -> None:
        if item.is_primitive:
            for group, nodes in zip(item.groups, node.children, strict=True):
                for inner, child in zip(group, nodes, strict=True):
                    self._below(inner, child, found)
            return
        if not any(inner.is_block for _, inner in walk(node)):
            return
        ranges = self._ranges(node)
        for index, scalar in enumerate(item.scalars):
            if isinstance(scalar, Variable) and index in ranges:
                _meet(found, scalar.index, ranges[index])


@cache
def _roles(grammar: Grammar) -> Roles:
    return Roles(grammar)


def _nearest(values: Sequence[int], goal: float) -> int:
    """The value nearest to a goal; of two the smaller."""
    return min(values, key=lambda v: (abs(v - goal), v))


def _variable(scalar: Scalar, place: int) -> Variable | None:
    """The scalar itself if it is the variable at a place of the scope."""
    return scalar if isinstance(scalar, Variable) and scalar.index == place else None


def _range(comparison: Comparison) -> tuple[int, Range]:
    """The range that a comparison of a variable with a number gives it; -1 for any other."""
    left, right = comparison.left, comparison.right
    if isinstance(left, Variable) and isinstance(right, Literal) and isinstance(right.value, int):
        n = right.value
        ranges = {"<=": (0, n), "<": (0, n - 1), ">=": (n, _ENDLESS), ">": (n + 1, _ENDLESS)}
        if comparison.operator in ranges:
            return left.index, ranges[comparison.operator]
    return -1, (0, _ENDLESS)


def _meet(found: dict[int, Range], index: int, other: Range) -> None:
    low, high = found.get(index, (0, _ENDLESS))
    found[index] = (max(low, other[0]), min(high, other[1]))
