from collections import Counter
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from strategies import drawn, seeds, shipped, small_grammars

from searchspace.build import build, flow
from searchspace.check import check
from searchspace.derivation import FREE
from searchspace.read import read_grammar
from searchspace.room import MOST
from searchspace.sample import sample
from searchspace.shapes import vector
from searchspace.table import table_of
from searchspace.tree import Node, walk

_HEAD = "space s : image[8, 16, 16] -> classes[2]\n"
# The kind of recursion that einspace has (arXiv 2405.20838): sequences and wrappers of modules.
_RECURSIVE = (
    _HEAD + "domain k = 3 | 5\n"
    "net -> module global_pool classifier(classes)\n"
    "module -> {sequence} : module module\n"
    "        | 1 : residual(module)\n"
    "        | 1 : residual(norm module) module\n"
    "        | 1 : depthwise(k)\n"
    "        | 1 : eca\n"
    "norm -> layer_norm | batch_norm\n"
)


def height(node: Node) -> int:
    return 1 + max((height(child) for child in node.flat()), default=0)


@given(seeds)
@settings(max_examples=30)
def test_draws_of_the_shipped_space_are_valid_and_give_the_promised_shape(seed):
    grammar = shipped(narrow=False)
    root = drawn(grammar, seed).root
    check(grammar, root)
    assert flow(root, grammar.input) == vector(10)


@given(small_grammars(), seeds)
@settings(max_examples=25)
def test_draws_of_any_grammar_are_valid_and_build_to_the_promised_shape(grammar, seed):
    root = drawn(grammar, seed).root
    check(grammar, root)
    assert flow(root, grammar.input) == vector(3)
    if sum(1 for _ in walk(root)) < 150:
        with torch.device("meta"):
            network = build(root, grammar.input).eval()
            assert network(torch.empty(2, *grammar.input.shape)).shape == (2, 3)


@given(small_grammars(), seeds)
@settings(max_examples=30)
def test_the_same_seed_gives_the_same_tree(grammar, seed):
    assert drawn(grammar, seed) == drawn(grammar, seed)


@pytest.mark.parametrize(
    ("sequence", "limit", "draws"),
    [(1, "", 100), (20, "limit nodes <= 3000\n", 3), (20, "limit nodes <= 40\n", 100)],
    ids=["tame", "explosive", "explosive but small"],
)
def test_recursion_stays_finite(sequence, limit, draws):
    grammar = read_grammar(_RECURSIVE.format(sequence=sequence) + limit)
    random = Random(1)
    for _ in range(draws):
        root = sample(grammar, random).root
        check(grammar, root)
        assert height(root) <= FREE + 5
        assert table_of(grammar).nodes(root) <= (grammar.limits.nodes or MOST)


def test_counts_multiplied_without_end_are_refused_in_words():
    text = _HEAD + "net -> a ^ 900\na -> b ^ 900\nb -> eca\n"
    with pytest.raises(ValueError, match="smallest trees of s have more than 50000 nodes: lower"):
        drawn(read_grammar(text), 0)


def test_alternatives_are_drawn_by_their_weights():
    text = _HEAD + "net -> 4 : eca | 1 : shift | 2.5 : layer_norm | gone | plain(gelu)\ngone -> eca"
    text = text.replace("gelu", "a").replace("plain(a)", "plain(a) with a : act") + "\n"
    text = text.replace("net ->", "domain act = gelu\nnet ->")
    random, grammar = Random(9), read_grammar(text)
    found = Counter(sample(grammar, random).root.alternative for _ in range(1900))
    expected = [1900 * weight / 9.5 for weight in (4, 1, 2.5, 1, 1)]
    assert chisquare([found[i] for i in range(5)], expected).pvalue > 1e-4


def test_alternatives_that_their_constraints_forbid_are_never_drawn():
    text = _HEAD + "domain n = 0 .. 9\nnet -> f(n)\n"
    text += "f(n) -> eca where n < 3 | 9 : shift where n > 5 | layer_norm where 3 <= n <= 5\n"
    grammar, random = read_grammar(text), Random(2)
    for _ in range(200):
        (rule,) = sample(grammar, random).root.flat()
        (n,) = rule.values
        assert rule.alternative == (0 if n < 3 else 1 if n > 5 else 2)


def test_one_repeat_draws_anew_and_the_other_copies():
    text = (
        _HEAD
        + "domain k = 3 | 5 | 7 | 9 | 11\nnet -> f ^ 8 f ^^ 8 depthwise(k) ^ 8\nf -> depthwise(k)\n"
    )
    root = drawn(read_grammar(text), 1).root
    anew, copies, bare = root.children
    assert (len(anew), len(copies), len(bare)) == (8, 8, 8)
    assert len(set(anew)) > 1
    assert len(set(copies)) == 1
    assert len(set(bare)) > 1


def test_every_block_gets_a_scheme_and_nothing_else_does():
    grammar = shipped()
    found = Counter(
        (grammar.rules[node.symbol].is_block if not node.is_primitive else False, node.scheme)
        for seed in range(20)
        for _, node in walk(drawn(grammar, seed).root)
    )
    assert set(found) == {(False, ""), (True, "float"), (True, "w8a8")}


@given(st.integers(0, 3), seeds)
@settings(max_examples=20)
def test_a_draw_moves_no_other_generator(count, seed):
    import random as global_random

    global_random.seed(count)
    before = global_random.getstate()
    drawn(shipped(), seed)
    assert global_random.getstate() == before


@given(small_grammars(), seeds)
@settings(max_examples=20)
def test_rows_repeat_one_block_and_stay_derivations(grammar, seed):
    root = sample(grammar, Random(seed), rows=True).root
    check(grammar, root)
    for _, node in walk(root):
        if not node.is_primitive:
            items = grammar.rules[node.symbol].alternatives[node.alternative].items
            for item, group in zip(items, node.children, strict=True):
                assert item.repeat is None or len(set(group)) <= 1
