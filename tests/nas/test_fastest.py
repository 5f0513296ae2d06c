"""The descent to the fastest network."""

import pytest
from hypothesis import given, settings
from small_space import SIX, grammar_of
from strategies import small_grammars

from nas.fastest import fastest, smallest
from searchspace.check import check
from searchspace.tree import walk


@given(small_grammars())
@settings(max_examples=25)
def test_the_smallest_tree_is_a_derivation(grammar):
    check(grammar, smallest(grammar).root)


def test_the_smallest_tree_by_hand():
    root = smallest(grammar_of()).root
    assert root.values == (8, 8)
    assert [len(group) for group in root.children] == [1, 1, 1, 1, 1]
    depths = [len(node.children[0]) for _, node in walk(root) if node.symbol == "stage"]
    assert depths == [1, 1]


def widths(architecture):
    return sum(n.values[0] for _, n in walk(architecture.root) if n.symbol == "depthwise")


def test_the_descent_finds_the_least_of_a_cost_that_starts_far_away():
    """Against the smallest tree: the largest kernels and the wider stem cost least."""

    def cost(architecture):
        return 100 - 10 * architecture.root.values[0] - architecture.root.values[1]

    found, least = fastest(grammar_of(SIX), cost, goal=-(10**9))
    assert found.root.values == (24, 5)
    assert least == cost(found) == 100 - 245


def test_it_ends_at_once_where_the_goal_is_met():
    asked = []

    def cost(architecture):
        asked.append(architecture)
        return 5.0

    found, least = fastest(grammar_of(), cost, goal=5.0)
    assert asked == [smallest(grammar_of())] == [found]
    assert least == 5.0


def test_it_always_finds_the_same():
    first = fastest(grammar_of(), widths, goal=-1)
    assert first == fastest(grammar_of(), widths, goal=-1)
    assert first[1] == widths(first[0]) == 0


def test_a_cost_that_is_infinite_everywhere_ends():
    _, least = fastest(grammar_of(SIX), lambda a: float("inf"), goal=1.0)
    assert least == pytest.approx(float("inf"))
