"""All trees of a small space, by trying: the oracle of `searchspace.count`.

Knows rules, constraints and what one primitive does to one shape, and keeps what
`searchspace.check` accepts; no table, no sums.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from random import Random

from searchspace import draws
from searchspace.build import flow
from searchspace.check import TreeError, check
from searchspace.grammar import Drawn, Grammar, Item, Scalar, evaluate
from searchspace.read import read_grammar
from searchspace.recursion import Recursion
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.space import load_space
from searchspace.tree import PRIMITIVE, Node, Value

Row = tuple[tuple[tuple[Node, ...], ...], TensorSpec, int]
"""Groups of nodes, what leaves them, and how many nodes there are, built copies counted."""
Scope = tuple[Value, ...]


def every_tree(grammar: Grammar, most: int) -> list[tuple[Node, int]]:
    """Every tree of at most so many nodes, with its number of nodes."""
    trees = _Trees(grammar).rule(grammar.start, (), grammar.input, most)
    return [(root, nodes) for root, _, nodes in trees if _accepted(grammar, root)]


def _accepted(grammar: Grammar, root: Node) -> bool:
    try:
        check(grammar, root)
    except (TreeError, ShapeError):
        return False
    return True


class _Trees:
    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.known: dict[object, list[tuple[Node, TensorSpec, int]]] = {}

    def rule(
        self, symbol: str, given: Scope, spec: TensorSpec, most: int
    ) -> list[tuple[Node, TensorSpec, int]]:
        key = (symbol, given, spec, most)
        if key not in self.known:
            self.known[key] = list(self.expansions(symbol, given, spec, most))
        return self.known[key]

    def expansions(
        self, symbol: str, given: Scope, spec: TensorSpec, most: int
    ) -> Iterator[tuple[Node, TensorSpec, int]]:
        if most < 1:
            return
        rule = self.grammar.rules[symbol]
        schemes = self.grammar.schemes if rule.is_block else ("",)
        for index, alternative in enumerate(rule.alternatives):
            for drawn in product(*[domain.values for _, domain in alternative.draws]):
                scope = (*given, *drawn)
                if draws.keeps(alternative, scope):
                    for groups, out, nodes in self.row(alternative.items, scope, spec, most - 1):
                        for scheme in schemes:
                            yield Node(symbol, index, scope, groups, scheme), out, nodes + 1

    def row(
        self, items: Sequence[Item], scope: Scope, spec: TensorSpec, most: int
    ) -> Iterator[Row]:
        if not items:
            yield (), spec, 0
            return
        for group, middle, nodes in self.copies(items[0], scope, spec, most):
            for rest, out, more in self.row(items[1:], scope, middle, most - nodes):
                yield (group, *rest), out, nodes + more

    def copies(
        self, item: Item, scope: Scope, spec: TensorSpec, most: int
    ) -> Iterator[tuple[tuple[Node, ...], TensorSpec, int]]:
        repeat = item.repeat
        numbers = (1,) if repeat is None else _options(repeat.count, scope)
        for number in map(int, numbers):
            if repeat is None or not repeat.same or not number:
                yield from self.several(item, scope, spec, most, number)
                continue
            for node, out, nodes in self.one(item, scope, spec, most // number):
                yield (node,) * number, out, nodes * number

    def several(
        self, item: Item, scope: Scope, spec: TensorSpec, most: int, number: int
    ) -> Iterator[tuple[tuple[Node, ...], TensorSpec, int]]:
        if not number:
            yield (), spec, 0
            return
        for node, middle, nodes in self.one(item, scope, spec, most):
            for rest, out, more in self.several(item, scope, middle, most - nodes, number - 1):
                yield (node, *rest), out, nodes + more

    def one(
        self, item: Item, scope: Scope, spec: TensorSpec, most: int
    ) -> Iterator[tuple[Node, TensorSpec, int]]:
        for values in product(*[_options(scalar, scope) for scalar in item.scalars]):
            if not item.is_primitive:
                yield from self.rule(item.symbol, values, spec, most)
            elif most >= 1:
                yield from self.primitive(item, values, scope, spec, most)

    def primitive(
        self, item: Item, values: Scope, scope: Scope, spec: TensorSpec, most: int
    ) -> Iterator[tuple[Node, TensorSpec, int]]:
        primitive = self.grammar.primitives[item.symbol]
        named = primitive.named(values)
        times = primitive.copies(named) if item.groups else 1
        try:
            within = primitive.inside(spec, named) if item.groups else spec
        except ShapeError:
            return
        for groups, nodes in self.groups(item.groups, scope, within, (most - 1) // times):
            node = Node(item.symbol, PRIMITIVE, values, groups)
            try:
                yield node, flow(node, spec), 1 + times * nodes
            except ShapeError:
                continue

    def groups(
        self, groups: Sequence[Sequence[Item]], scope: Scope, within: TensorSpec, most: int
    ) -> Iterator[tuple[tuple[tuple[Node, ...], ...], int]]:
        if not groups:
            yield (), 0
            return
        for row, _, nodes in self.row(groups[0], scope, within, most):
            flat = tuple([node for group in row for node in group])
            for rest, more in self.groups(groups[1:], scope, within, most - nodes):
                yield (flat, *rest), nodes + more


def _options(scalar: Scalar, scope: Scope) -> tuple[Value, ...]:
    return scalar.domain.values if isinstance(scalar, Drawn) else (evaluate(scalar, scope),)


FIXED = {
    "conv_resnet": {
        "width": "32 | 64", "mid": "16", "even": "32", "fine": "32", "inner": "64", "stride": "2",
        "kernel": "3", "act": "relu", "step": "1 | 2",
    }
}  # fmt: skip
"""Domains that are not left to chance, since few combinations keep the constraints."""


def part_of(name: str, seed: int) -> Grammar:
    """A part of a space that ships: of each domain and rule, one choice or a few.

    Recursive rules keep all of their alternatives; those with constraints do so half of the time.

    Raises:
        GrammarError: nothing is left of the space.
    """
    random = Random(seed)

    def fewer(match: re.Match[str]) -> str:
        if match[1] in FIXED.get(name, {}):
            return f"domain {match[1]} = {FIXED[name][match[1]]}\n"
        values = [str(value) for value in whole.domains[match[1]].values[:4]]
        kept = random.sample(values, min(len(values), random.choice((1, 1, 2, 3))))
        return f"domain {match[1]} = {' | '.join(sorted(kept, key=values.index))}\n"

    whole = load_space(name)
    text = re.sub(r"^domain +(\w+) *=.*\n(?:[ \t].*\n)*", fewer, whole.text, flags=re.MULTILINE)
    grammar = read_grammar(text)
    recursive = Recursion(grammar.rules, grammar.primitives).recursive
    rules = {}
    for rule in grammar.rules.values():
        several = rule.alternatives
        keeps = any(a.where for a in several) and random.random() < 0.5
        if rule.name not in recursive and not keeps:
            several = tuple(random.sample(several, random.randint(1, min(2, len(several)))))
        rules[rule.name] = replace(rule, alternatives=several)
    return replace(grammar, rules=rules)
