"""Counts against lists of all trees, and uniform draws against both."""

from collections import Counter as Tally
from random import Random

import pytest
from enumeration import every_tree, part_of
from scipy.stats import chisquare
from strategies import HEADER

from searchspace.count import count, count_by_size
from searchspace.grammar import LimitError
from searchspace.read import read_grammar
from searchspace.space import load_space
from searchspace.uniform import Uniform

_RECURSIVE = HEADER + (
    "domain w = 4 | 6\n"
    "net -> module global_pool classifier(classes)\n"
    "module -> 6 : eca | 1 : conv(w, 3, 1) | 1 : module module | 1 : residual(module)\n"
    "        | 1 : branch(add, module, module)\n"
)


def sizes(trees):
    """Number of trees of each size."""
    return dict(sorted(Tally(nodes for _, nodes in trees).items()))


@pytest.mark.parametrize("most", [5, 8, 10, 13])
def test_a_recursive_space_has_as_many_trees_as_can_be_listed(most):
    grammar = read_grammar(_RECURSIVE)
    expected = sizes(every_tree(grammar, most))
    assert count_by_size(grammar, most) == expected
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
        assert count(grammar, most) == len(every_tree(grammar, most))


@pytest.mark.parametrize("most", [7, 8])
def test_einspace_has_as_many_trees_as_can_be_listed(most):
    grammar = load_space("einspace", limits={"width": (16, 32), "patch": (4, 4)})
    assert count_by_size(grammar, most) == sizes(every_tree(grammar, most))


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        # Parts of each space with 20 to 700 trees.
        ("conv_large_kernel", 52),
        ("conv_resnet", 1),
        ("hybrid", 5),
        ("hybrid", 42),
        ("mobile", 12),
        ("nasbench201", 7),
        ("nasnet", 22),
        ("vit", 2),
        ("vit", 9),
    ],
)
def test_parts_of_shipped_spaces_have_as_many_trees_as_can_be_listed(name, seed):
    grammar = part_of(name, seed)
    assert 10 < count(grammar) < 3_000, "the file has changed: find another seed"
    expected = sizes(every_tree(grammar, 10_000))
    assert count_by_size(grammar, 10_000) == expected
    assert count(grammar) == sum(expected.values())


def test_all_trees_of_pooling_can_be_listed():
    grammar = load_space("pooling")
    expected = sizes(every_tree(grammar, 10_000))
    assert count_by_size(grammar, 10_000) == expected
    assert count(grammar) == sum(expected.values()) == 36 + 56 + 455


def test_nasbench201_has_the_published_number_of_cells():
    assert count(load_space("nasbench201")) == 15_625


def test_copies_multiply_and_repetition_does_not():
    text = (
        HEADER + "domain k = 3 | 5 | 7\nnet -> depthwise(k) ^ 40 global_pool classifier(classes)\n"
    )
    assert count(read_grammar(text)) == 3**40
    same = text.replace("^ 40", "^^ 40")
    assert count(read_grammar(same)) == 3


def test_nasnet_has_the_product_of_its_choices():
    # Nothing but the number of networks' filters, stem, depth and what leaves a cell is tied to a
    # shape, and of these all combinations fit.
    sizes = 39 * 6 * 7 * 5 * 3 * 3  # quarter, stem, depth, drop, first of either cell
    wirings, operations = (2 * 3 * 4 * 5 * 6) ** 2, 13**10  # of one cell
    assert count(load_space("nasnet")) == sizes * (wirings * operations) ** 2


def test_variables_that_bear_on_no_shape_are_drawn_uniformly():
    grammar, random = (
        read_grammar(
            HEADER + "domain act = gelu | relu\ndomain n = 1 .. 2\ndomain k = 3 | 5\n"
            "net -> f(a, b, c) global_pool classifier(classes) with a : act ; b, d : n ; c : act\n"
            "f(a, b, c) -> activation(a) g(c, e) ^ b with e : act\n"
            "            | activation(c) g(e, e) with e : act\n"
            "g(a, b) -> activation(a) where a != b | activation(b) depthwise(k)\n"
        ),
        Random(3),
    )
    trees = [root for root, _ in every_tree(grammar, 99)]
    assert count(grammar) == len(trees) > 100
    uniform = Uniform(grammar)
    found = Tally(uniform.sample(random).root for _ in range(8 * len(trees)))
    assert set(found) <= set(trees)
    assert chisquare([found[root] for root in trees]).pvalue > 1e-4


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
    trees = [root for root, number in every_tree(grammar, 10) if nodes in (None, number)]
    uniform = Uniform(grammar, 10)
    draws_each = 12
    found = Tally(uniform.sample(random, nodes).root for _ in range(draws_each * len(trees)))
    assert set(found) <= set(trees)
    assert chisquare([found[root] for root in trees]).pvalue > 1e-4


def test_uniform_draws_over_variables_and_copies():
    grammar, random = (
        read_grammar(
            HEADER + "domain n = 1 .. 2\ndomain w = 4 | 6\n"
            "net -> part(a) ^ b strided_conv(c, 1) eca ^^ n global_pool classifier(classes)\n"
            "       with a, b, c, d : n where a <= b\n"
            "part(x) -> conv(w, 1, 1) | eca where x > 1\n"
        ),
        Random(1),
    )
    trees = [root for root, _ in every_tree(grammar, 99)]
    assert len(trees) == count(grammar) == (2 + 2**2 + 3**2) * 2**3
    uniform = Uniform(grammar)
    found = Tally(uniform.sample(random).root for _ in range(8 * len(trees)))
    assert set(found) <= set(trees)
    assert chisquare([found[root] for root in trees]).pvalue > 1e-4


def test_a_size_that_no_tree_has_is_refused_in_words():
    uniform = Uniform(read_grammar(_RECURSIVE), 10)
    with pytest.raises(LimitError, match="has no tree of 4 nodes"):
        uniform.sample(Random(0), 4)
