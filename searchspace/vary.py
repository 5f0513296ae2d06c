"""Mutation and crossover that give only derivations of the grammar.

A *site* is a place where something was drawn: a variable, an argument, a count, an alternative, a
precision scheme. Mutation draws anew at one site. What other values depend on a changed one is
computed again, and only what no longer fits is drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from searchspace import draws
from searchspace.architecture import Architecture
from searchspace.grammar import Drawn, Grammar, Item, Repeat
from searchspace.sample import DEEPEST, MOST, TALLEST, expand, one, pick, value
from searchspace.tree import Node, Path, Value, at, walk

_TRIES = 100
"""Changes that `mutate` makes at most until the tree differs."""

_NEAR = 4
"""Integers that a small step chooses from."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in a tree where something was drawn."""

    kind: str
    """`alternative`, `variable`, `count` and `scheme` of a rule, or `argument` of any node."""
    path: Path
    """Way to the node."""
    label: str
    """What is drawn there, such as `network.w2` or `stage.block`; alike sites share it."""
    index: int = 0
    """Which variable, item or argument."""
    item: Item | None = None
    """For `argument`: the item of the parent rule that holds the draw."""


def mutate(grammar: Grammar, architecture: Architecture, random: Random) -> Architecture:
    """A copy with one or a few sites drawn anew; differs from the original where it can.

    The kind of site is drawn first, each label equally likely, so that a handful of widths changes
    as often as hundreds of kernel sizes. Half of the changes reach all equal copies in a row, so
    that rows of one block stay such rows. After every change the next follows with probability 1/2.
    """
    root = architecture.root
    for _ in range(_TRIES):
        by_label: dict[str, list[Site]] = {}
        for site in sites(grammar, root):
            by_label.setdefault(site.label, []).append(site)
        if not by_label:
            return architecture
        label = list(by_label)[random.randrange(len(by_label))]
        chosen = by_label[label]
        site = chosen[random.randrange(len(chosen))]
        changed = redraw(grammar, root, site, random, together=random.random() < 0.5)
        root = changed if _small(changed) else root
        if root != architecture.root and random.random() < 0.5:
            break
    return Architecture(space=architecture.space, root=root)


def crossover(
    grammar: Grammar, first: Architecture, second: Architecture, random: Random
) -> Architecture:
    """A copy of `first` with the start's variables mixed and a subtree from `second` grafted in."""
    root = _mix_variables(grammar, first.root, second.root, random)
    donors: dict[str, list[Node]] = {}
    for _, node in walk(second.root):
        if not node.is_primitive and node is not second.root:
            donors.setdefault(node.symbol, []).append(node)
    places = [(p, n) for p, n in walk(root) if p and not n.is_primitive and n.symbol in donors]
    if places:
        symbols = sorted({node.symbol for _, node in places})
        symbol = symbols[random.randrange(len(symbols))]
        places = [(p, n) for p, n in places if n.symbol == symbol]
        path, node = places[random.randrange(len(places))]
        graft = donors[symbol][random.randrange(len(donors[symbol]))]
        arity = len(grammar.rules[symbol].parameters)
        graft = refit(grammar, graft, node.values[:arity], random)
        grafted = _replace(grammar, root, path, graft)
        root = grafted if _small(grafted) else root
    return Architecture(space=first.space, root=root)


def sites(grammar: Grammar, root: Node) -> list[Site]:
    """Every place where another value could have been drawn; copies under `^^` count once."""
    found: list[Site] = []
    _rule_sites(grammar, root, (), found)
    return found


def _rule_sites(grammar: Grammar, node: Node, path: Path, found: list[Site]) -> None:
    rule = grammar.rules[node.symbol]
    alternative = rule.alternatives[node.alternative]
    if len(rule.alternatives) > 1:
        found.append(Site("alternative", path, node.symbol))
    if rule.is_block and len(grammar.schemes) > 1:
        found.append(Site("scheme", path, f"{node.symbol}.scheme"))
    for index, (name, domain) in enumerate(alternative.draws):
        if len(domain.values) > 1:
            found.append(Site("variable", path, f"{node.symbol}.{name}", index))
    for g, (item, nodes) in enumerate(zip(alternative.items, node.children, strict=True)):
        repeat = item.repeat
        if repeat and isinstance(repeat.count, Drawn) and len(repeat.count.domain.values) > 1:
            found.append(Site("count", path, f"{node.symbol}.{item.symbol}", g))
        distinct = nodes[:1] if repeat and repeat.same else nodes
        for i, child in enumerate(distinct):
            _item_sites(grammar, item, child, (*path, (g, i)), found)


def _item_sites(grammar: Grammar, item: Item, node: Node, path: Path, found: list[Site]) -> None:
    for index, scalar in enumerate(item.scalars):
        if isinstance(scalar, Drawn) and len(scalar.domain.values) > 1:
            found.append(Site("argument", path, f"{item.symbol}.{index}", index, item))
    if not item.is_primitive:
        _rule_sites(grammar, node, path, found)
        return
    for g, (sequence, nodes) in enumerate(zip(item.groups, node.children, strict=True)):
        for i, (inner, child) in enumerate(zip(sequence, nodes, strict=True)):
            _item_sites(grammar, inner, child, (*path, (g, i)), found)


def redraw(
    grammar: Grammar, root: Node, site: Site, random: Random, *, together: bool = False
) -> Node:
    """The tree with another draw at one site.

    Args:
        together: change all copies in a row under `^` that equal the one that holds the site.
    """
    node = at(root, site.path)
    if site.kind == "argument":
        new = _redraw_argument(grammar, node, site, random)
        return _replace(grammar, root, site.path, new, together)
    rule = grammar.rules[node.symbol]
    arity = len(rule.parameters)
    alternative = rule.alternatives[node.alternative]
    if site.kind == "alternative":
        height = DEEPEST - len(site.path)
        new = expand(grammar, node.symbol, node.values[:arity], random, height)
    elif site.kind == "scheme":
        scheme = str(_other(grammar.schemes, node.scheme, random))
        new = Node(node.symbol, node.alternative, node.values, node.children, scheme)
    elif site.kind == "variable":
        options = draws.others(alternative, node.values, arity, site.index)
        if not options:
            return root
        scope = list(node.values)
        scope[arity + site.index] = _other(options, scope[arity + site.index], random)
        new = _with_scope(grammar, node, scope, random)
    else:
        item = alternative.items[site.index]
        copies = _recount(grammar, item, node.children[site.index], node.values, random)
        children = (*node.children[: site.index], copies, *node.children[site.index + 1 :])
        new = Node(node.symbol, node.alternative, node.values, children, node.scheme)
    return _replace(grammar, root, site.path, new, together)


def refit(grammar: Grammar, node: Node, arguments: Sequence[Value], random: Random) -> Node:
    """The same derivation under other arguments; drawn anew only where it no longer fits."""
    arity = len(grammar.rules[node.symbol].parameters)
    if node.values[:arity] == tuple(arguments):
        return node
    return _with_scope(grammar, node, [*arguments, *node.values[arity:]], random)


def _with_scope(grammar: Grammar, node: Node, scope: Sequence[Value], random: Random) -> Node:
    rule = grammar.rules[node.symbol]
    alternative = rule.alternatives[node.alternative]
    if not draws.keeps(alternative, scope):
        return expand(grammar, node.symbol, scope[: len(rule.parameters)], random)
    children = tuple(
        _refit_group(grammar, item, nodes, scope, random)
        for item, nodes in zip(alternative.items, node.children, strict=True)
    )
    return Node(node.symbol, node.alternative, tuple(scope), children, node.scheme)


def _refit_group(
    grammar: Grammar, item: Item, nodes: tuple[Node, ...], scope: Sequence[Value], random: Random
) -> tuple[Node, ...]:
    repeat = item.repeat
    if repeat is None:
        return (_refit_item(grammar, item, nodes[0], scope, random),)
    count = len(nodes)
    if not isinstance(repeat.count, Drawn):
        wanted = value(repeat.count, scope, random)
        assert isinstance(wanted, int)
        count = wanted
    if repeat.same:
        if not nodes:
            return (one(grammar, item, scope, random),) * count if count else ()
        return (_refit_item(grammar, item, nodes[0], scope, random),) * count
    kept = [_refit_item(grammar, item, node, scope, random) for node in nodes[:count]]
    return (*kept, *(one(grammar, item, scope, random) for _ in range(count - len(kept))))


def _refit_item(
    grammar: Grammar, item: Item, node: Node, scope: Sequence[Value], random: Random
) -> Node:
    values = tuple(
        old if isinstance(scalar, Drawn) else value(scalar, scope, random)
        for scalar, old in zip(item.scalars, node.values, strict=False)
    )
    if not item.is_primitive:
        return refit(grammar, node, values, random)
    children = tuple(
        tuple(
            _refit_item(grammar, inner, child, scope, random)
            for inner, child in zip(sequence, nodes, strict=True)
        )
        for sequence, nodes in zip(item.groups, node.children, strict=True)
    )
    if values == node.values and children == node.children:
        return node
    return Node(node.symbol, node.alternative, values, children)


def _redraw_argument(grammar: Grammar, node: Node, site: Site, random: Random) -> Node:
    assert site.item is not None
    scalar = site.item.scalars[site.index]
    assert isinstance(scalar, Drawn)
    new = _other(scalar.domain.values, node.values[site.index], random)
    values = (*node.values[: site.index], new, *node.values[site.index + 1 :])
    if node.is_primitive:
        return Node(node.symbol, node.alternative, values, node.children)
    return refit(grammar, node, values[: len(site.item.scalars)], random)


def _recount(
    grammar: Grammar, item: Item, nodes: tuple[Node, ...], scope: Sequence[Value], random: Random
) -> tuple[Node, ...]:
    """Another number of copies: some dropped at random, or some doubled in place or drawn anew.

    Half of the steps go to a neighbouring count, half anywhere in the domain.
    """
    assert item.repeat is not None
    assert isinstance(item.repeat.count, Drawn)
    counts = item.repeat.count.domain.values
    if random.random() < 0.5:
        here = counts.index(len(nodes))
        count = pick([counts[i] for i in (here - 1, here + 1) if 0 <= i < len(counts)], random)
    else:
        count = _other(counts, len(nodes), random)
    assert isinstance(count, int)
    if item.repeat.same:
        return (nodes[:1] or (one(grammar, item, scope, random),)) * count
    copies = list(nodes)
    while len(copies) > count:
        del copies[random.randrange(len(copies))]
    while len(copies) < count:
        place = random.randrange(len(copies) + 1)
        double = copies and random.random() < 0.5
        new = copies[max(place - 1, 0)] if double else one(grammar, item, scope, random)
        copies.insert(place, new)
    return tuple(copies)


def _mix_variables(grammar: Grammar, first: Node, second: Node, random: Random) -> Node:
    """`first` with some of the start's variables taken from `second`, constraints kept."""
    if first.alternative != second.alternative or not first.values:
        return first
    alternative = grammar.rules[first.symbol].alternatives[first.alternative]
    scope = list(first.values)
    for index, other in enumerate(second.values):
        if random.random() < 0.5:
            kept, scope[index] = scope[index], other
            if not draws.keeps(alternative, scope):
                scope[index] = kept
    return first if tuple(scope) == first.values else _with_scope(grammar, first, scope, random)


def _replace(grammar: Grammar, node: Node, path: Path, new: Node, together: bool = False) -> Node:
    """A copy with the node at `path` replaced; copies under `^^` change together.

    Args:
        together: equal copies under `^` change together too.
    """
    if not path:
        return new
    (g, i), rest = path[0], path[1:]
    nodes = node.children[g]
    changed = _replace(grammar, nodes[i], rest, new, together)
    repeat = _repeat(grammar, node, g)
    if repeat is not None and (repeat.same or together):
        replaced = tuple(changed if copy == nodes[i] else copy for copy in nodes)
    else:
        replaced = (*nodes[:i], changed, *nodes[i + 1 :])
    children = (*node.children[:g], replaced, *node.children[g + 1 :])
    return Node(node.symbol, node.alternative, node.values, children, node.scheme)


def _repeat(grammar: Grammar, node: Node, g: int) -> Repeat | None:
    if node.is_primitive:
        return None
    return grammar.rules[node.symbol].alternatives[node.alternative].items[g].repeat


def _small(root: Node) -> bool:
    """Whether a tree is within what a draw may give; repeated grafts could outgrow it."""
    waiting, count = [(root, 1)], 0
    while waiting:
        node, height = waiting.pop()
        count += not node.is_primitive
        if height > TALLEST or count > MOST:
            return False
        waiting.extend((child, height + 1) for group in node.children for child in group)
    return True


def _other(values: Sequence[Value], current: Value, random: Random) -> Value:
    """Any of the values but the current one, if there is another.

    Half of the draws from many integers go to one of the four nearest, so that a search can also
    take small steps.
    """
    rest = [v for v in values if v != current]
    if not rest:
        return current
    if len(rest) > _NEAR and isinstance(current, int) and random.random() < 0.5:
        rest = sorted(rest, key=lambda v: abs(v - current) if isinstance(v, int) else 0)[:_NEAR]
    return pick(rest, random)
