"""Properties of a whole grammar: what can be reached, what ends, and how low a tree can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx as nx

from searchspace.grammar import Alternative, Item, Rule

ENDLESS = 1_000_000
"""Height of a rule without any finite tree."""


def reachable(rules: Mapping[str, Rule], start: str) -> set[str]:
    """Names of the rules that trees from `start` can hold."""
    return {start, *nx.descendants(references(rules), start)}


def on_cycle(rules: Mapping[str, Rule], name: str) -> bool:
    """Whether trees of a rule can hold the rule itself."""
    graph = references(rules)
    return any(name == used or name in nx.descendants(graph, used) for used in graph[name])


def heights(rules: Mapping[str, Rule]) -> dict[str, tuple[int, ...]]:
    """Height of the lowest tree of each alternative of each rule; `ENDLESS` if there is none."""
    height = dict.fromkeys(rules, ENDLESS)
    for _ in rules:  # a lowest tree visits no rule twice on a way down: so many rounds suffice
        for name, rule in rules.items():
            height[name] = min(_height(a, height) for a in rule.alternatives)
    return {name: tuple(_height(a, height) for a in r.alternatives) for name, r in rules.items()}


def _height(alternative: Alternative, height: Mapping[str, int]) -> int:
    inner = [_item_height(item, height) for item in alternative.items]
    return min(ENDLESS, 1 + max(inner, default=0))


def _item_height(item: Item, height: Mapping[str, int]) -> int:
    if not item.is_primitive:
        return height[item.symbol]
    return 1 + max((_item_height(i, height) for group in item.groups for i in group), default=0)


def references(rules: Mapping[str, Rule]) -> nx.DiGraph:
    """Which rule names which."""
    graph = nx.DiGraph()
    graph.add_nodes_from(rules)
    for name, rule in rules.items():
        for alternative in rule.alternatives:
            graph.add_edges_from((name, used) for used in _rules_in(alternative.items))
    return graph


def _rules_in(items: Iterable[Item]) -> Iterable[str]:
    for item in items:
        if not item.is_primitive:
            yield item.symbol
        for group in item.groups:
            yield from _rules_in(group)
