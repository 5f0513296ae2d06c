"""Mutation and crossover that give only derivations of the grammar.

A *site* is a place where something was drawn: a variable, an argument, a count, an alternative, a
precision scheme. Mutation chooses anew at one site; the tree guides a new derivation, which keeps
every other choice that still fits the values and shapes that reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from searchspace import draws
from searchspace.architecture import Architecture
from searchspace.choose import RandomChooser
from searchspace.derivation import Derivation
from searchspace.grammar import Drawn, Grammar, Item
from searchspace.guide import Change
from searchspace.table import table_of
from searchspace.tree import Node, Path, at, walk

_TRIES = 100
"""Changes that `mutate` makes at most until the tree differs."""


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
        root = redraw(grammar, root, site, random, together=random.random() < 0.5)
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
        paths = [path for path, node in places if node.symbol == symbol]
        path = paths[random.randrange(len(paths))]
        graft = donors[symbol][random.randrange(len(donors[symbol]))]
        change = Change(kind="graft", path=path, graft=graft)
        root = _derived(grammar, root, change, random)
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
            found.append(Site("argument", path, f"{item.symbol}.{index}", index))
    if not item.is_primitive:
        _rule_sites(grammar, node, path, found)
        return
    for g, (sequence, nodes) in enumerate(zip(item.groups, node.children, strict=True)):
        for i, (inner, child) in enumerate(zip(sequence, nodes, strict=True)):
            _item_sites(grammar, inner, child, (*path, (g, i)), found)


def redraw(
    grammar: Grammar, root: Node, site: Site, random: Random, *, together: bool = False
) -> Node:
    """The tree with another choice at one site, if another can be completed there.

    Args:
        grammar: the space.
        root: a tree of it.
        site: what to change.
        random: decides the choice.
        together: change all copies in a row under `^` that equal the one that holds the site.
    """
    copies: tuple[Node | None, ...] = ()
    if site.kind == "count":
        copies = _recount(grammar, at(root, site.path), site.index, random)
    change = Change(
        kind=site.kind, path=site.path, index=site.index, copies=copies, together=together
    )
    return _derived(grammar, root, change, random)


def _derived(grammar: Grammar, root: Node, change: Change, random: Random) -> Node:
    return Derivation(table_of(grammar), RandomChooser(random), change=change).root(root)


def _recount(grammar: Grammar, node: Node, index: int, random: Random) -> tuple[Node | None, ...]:
    """Another number of copies: some dropped at random, or some doubled in place or drawn anew.

    Half of the steps go to a neighbouring count, half anywhere in the domain.
    """
    repeat = grammar.rules[node.symbol].alternatives[node.alternative].items[index].repeat
    assert repeat is not None
    assert isinstance(repeat.count, Drawn)
    nodes, counts = node.children[index], [int(n) for n in repeat.count.domain.values]
    here = counts.index(len(nodes))
    wanted: Sequence[int] = [n for n in counts if n != len(nodes)]
    if random.random() < 0.5:
        wanted = [counts[i] for i in (here - 1, here + 1) if 0 <= i < len(counts)]
    count = wanted[random.randrange(len(wanted))]
    if repeat.same:
        return (nodes[:1] or (None,)) * count
    copies: list[Node | None] = list(nodes)
    while len(copies) > count:
        del copies[random.randrange(len(copies))]
    while len(copies) < count:
        place = random.randrange(len(copies) + 1)
        double = copies and random.random() < 0.5
        copies.insert(place, copies[max(place - 1, 0)] if double else None)
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
    if tuple(scope) == first.values:
        return first
    mixed = Node(first.symbol, first.alternative, tuple(scope), first.children, first.scheme)
    return _derived(grammar, mixed, Change(kind="values", path=()), random)
