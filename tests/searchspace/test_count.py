"""Counts against lists of all trees, and uniform draws against both."""

from collections import Counter as Tally
from collections.abc import Iterator
from itertools import product
from random import Random

import pytest
from scipy.stats import chisquare
from strategies import HEADER

from searchspace import draws
from searchspace.build import flow
from searchspace.count import count, count_by_size
from searchspace.grammar import Drawn, Grammar, Item, LimitError, evaluate
from searchspace.read import read_grammar
from searchspace.shapes import ShapeError
from searchspace.space import load_space
from searchspace.table import table_of
from searchspace.tree import PRIMITIVE, Node
from searchspace.uniform import Uniform

_RECURSIVE = HEADER + (
    "domain w = 4 | 6\n"
    "net -> module global_pool classifier(classes)\n"
    "module -> 6 : eca | 1 : conv(w, 3, 1) | 1 : module module | 1 : residual(module)\n"
    "        | 1 : branch(add, module, module)\n"
)


class _All:
    """Every tree of a grammar up to a size, written down without any thought of shapes."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar

    def rule(self, symbol: str, given: tuple, most: int) -> Iterator[Node]:
        rule = self.grammar.rules[symbol]
        for index, alternative in enumerate(rule.alternatives):
            if most < 1:
                return
            domains = [domain.values for _, domain in alternative.draws]
            for drawn in product(*domains):
                scope = (*given, *drawn)
                if not draws.keeps(alternative, scope):
                    continue
                schemes = self.grammar.schemes if rule.is_block else ("",)
                for children in self.items(alternative.items, scope, most - 1):
                    for scheme in schemes:
                        yield Node(symbol, index, scope, children, scheme)

    def items(self, items: tuple[Item, ...], scope: tuple, most: int) -> Iterator[tuple]:
        if not items:
            yield ()
            return
        for group in self.copies(items[0], scope, most):
            used = sum(size(node) for node in group)
            for rest in self.items(items[1:], scope, most - used):
                yield (group, *rest)

    def copies(self, item: Item, scope: tuple, most: int) -> Iterator[tuple[Node, ...]]:
        repeat = item.repeat
        if repeat is None:
            yield from ((node,) for node in self.one(item, scope, most))
            return
        drawn = isinstance(repeat.count, Drawn)
        numbers = repeat.count.domain.values if drawn else (evaluate(repeat.count, scope),)
        for number in numbers:
            if repeat.same and number:
                nodes = list(self.one(item, scope, most))
                yield from ((node,) * number for node in nodes if size(node) * number <= most)
            else:
                yield from self.several(item, scope, most, number)

    def several(self, item: Item, scope: tuple, most: int, number: int) -> Iterator[tuple]:
        if not number:
            yield ()
            return
        for node in self.one(item, scope, most):
            for rest in self.several(item, scope, most - size(node), number - 1):
                yield (node, *rest)

    def one(self, item: Item, scope: tuple, most: int) -> Iterator[Node]:
        options = [
            s.domain.values if isinstance(s, Drawn) else (evaluate(s, scope),) for s in item.scalars
        ]
        for values in product(*options):
            if not item.is_primitive:
                yield from self.rule(item.symbol, values, most)
            elif most >= 1:
                for groups in self.groups(item.groups, scope, most - 1):
                    yield Node(item.symbol, PRIMITIVE, values, groups)

    def groups(self, groups: tuple, scope: tuple, most: int) -> Iterator[tuple]:
        if not groups:
            yield ()
            return
        for row in self.items(groups[0], scope, most):
            nodes = tuple(node for group in row for node in group)
            used = sum(size(node) for node in nodes)
            for rest in self.groups(groups[1:], scope, most - used):
                yield (nodes, *rest)


def size(node: Node) -> int:
    return 1 + sum(size(child) for child in node.flat())


def fits(grammar: Grammar, root: Node) -> bool:
    try:
        flow(root, grammar.input)
    except ShapeError:
        return False
    return True


def listed(grammar: Grammar, most: int) -> list[Node]:
    """All trees that fit the input, found by trying."""
    every = _All(grammar).rule(grammar.start, (), most)
    return [root for root in every if size(root) <= most and fits(grammar, root)]


@pytest.mark.parametrize("most", [5, 8, 10, 13])
def test_a_recursive_space_has_as_many_trees_as_can_be_listed(most):
    grammar = read_grammar(_RECURSIVE)
    expected = Tally(map(size, listed(grammar, most)))
    assert count_by_size(grammar, most) == dict(sorted(expected.items()))
    assert count(grammar, most) == sum(expected.values())


@pytest.mark.parametrize(
    "rules",
    [
        "net -> f(a) ^ b tail with a, b : n where a <= b\n"
        "f(x) -> eca | conv(w, 1, 1) where x > 1\n",
        "net -> g(w) tail\ng(c) -> conv(c, 3, 1) residual(h(c)) | conv(c, 1, 1) h(c) ^^ n\n"
        "h(c) -> conv(c, 1, 1) | eca where c > 4\n",
        "net -> f(2) tail\nf(x) is block -> conv(w, 1, 1) f(x - 1) where x > 0\n"
        "    | bias where x == 0\n"
        "domain n = 1 | 2\n",
        "net -> branch(concat, a, a a) ^ n tail\na -> conv(w, 1, 1) | eca\n",
    ],
)
def test_a_space_has_as_many_trees_as_can_be_listed(rules):
    text = HEADER + "domain w = 4 | 6\n" + ("" if "domain n" in rules else "domain n = 0 .. 2\n")
    text += rules.replace("domain n = 1 | 2\n", "") + "tail -> global_pool classifier(classes)\n"
    grammar = read_grammar(text, schemes=("float", "w8a8"))
    for most in (9, 12, 30):
        assert count(grammar, most) == len(listed(grammar, most))


@pytest.mark.parametrize("most", [7, 8])
def test_einspace_has_as_many_trees_as_can_be_listed(most):
    # Narrower domains: the list knows no shapes, and most of what it tries does not fit.
    grammar = load_space("einspace", limits={"width": (16, 32), "patch": (4, 4)})
    found = listed_with_copies(grammar, most)
    assert count(grammar, most) == len(found)


def listed_with_copies(grammar: Grammar, most: int) -> list[Node]:
    nodes = table_of(grammar).nodes
    every = _All(grammar).rule(grammar.start, (), most)
    return [root for root in every if nodes(root) <= most and fits(grammar, root)]


def test_what_is_known_of_finite_spaces():
    assert count(load_space("nasbench201")) == 15_625
    assert count(load_space("pooling")) == 36 + 56 + 455
    text = (
        HEADER + "domain k = 3 | 5 | 7\nnet -> depthwise(k) ^ 40 global_pool classifier(classes)\n"
    )
    assert count(read_grammar(text)) == 3**40
    same = text.replace("^ 40", "^^ 40")
    assert count(read_grammar(same)) == 3


def test_sizes_and_no_sizes_agree_on_a_finite_space():
    grammar = load_space("conv_large_kernel", limits={"width": (32, 48), "depth": (1, 2)})
    assert sum(count_by_size(grammar, 2000).values()) == count(grammar)


def test_schemes_multiply():
    text = HEADER + "net -> a ^ 3 global_pool classifier(classes)\na is block -> eca\n"
    assert count(read_grammar(text, schemes=("float", "w8a8"))) == 2**3


def test_recursion_without_a_bound_is_refused_with_the_cure():
    with pytest.raises(LimitError, match="recursive and has no end of trees: say up to how many"):
        count(read_grammar(_RECURSIVE))


@pytest.mark.parametrize("nodes", [10, None])
def test_uniform_draws_are_uniform(nodes):
    grammar, random = read_grammar(_RECURSIVE), Random(5)
    trees = [root for root in listed(grammar, 10) if nodes in (None, size(root))]
    uniform = Uniform(grammar, 10)
    draws_each = 12
    found = Tally(uniform.sample(random, nodes).root for _ in range(draws_each * len(trees)))
    assert set(found) <= set(trees)
    assert chisquare([found[root] for root in trees]).pvalue > 1e-4


def test_uniform_draws_over_variables_and_copies():
    text = HEADER + (
        "domain n = 1 .. 3\ndomain w = 4 | 6 | 8\n"
        "net -> part(a) ^ b strided_conv(c, 1) eca ^^ n global_pool classifier(classes)\n"
        "       with a, b, c : n, d : n where a <= b\n"
        "part(x) -> conv(w, 1, 1) | eca where x > 1\n"
    ).replace("a, b, c : n, d : n", "a, b, c, d : n")
    grammar, random = read_grammar(text), Random(1)
    trees = [r for r in listed(grammar, 99) if len(r.children[0]) < 3]
    everything = count(grammar)
    uniform = Uniform(grammar)
    total = 20_000
    found = Tally(uniform.sample(random).root for _ in range(total))
    observed = [found[root] for root in trees]
    rest = total - sum(observed)
    expected = [total / everything] * len(trees)
    merged = _merged(observed, 40)
    ideal = _merged(expected, 40)
    p = chisquare([*merged, rest], [*ideal, total - sum(expected)]).pvalue
    assert p > 1e-4


def _merged(numbers, parts):
    return [sum(numbers[i::parts]) for i in range(parts)]


def test_a_size_that_no_tree_has_is_refused_in_words():
    uniform = Uniform(read_grammar(_RECURSIVE), 10)
    with pytest.raises(LimitError, match="has no tree of 4 nodes"):
        uniform.sample(Random(0), 4)
