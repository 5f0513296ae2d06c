from random import Random

import pytest
from hypothesis import given, settings
from strategies import SCHEMES, drawn, seeds, shipped, small_grammars

from searchspace.build import flow
from searchspace.check import check
from searchspace.read import read_grammar
from searchspace.shapes import vector
from searchspace.table import DEEPEST
from searchspace.text import from_text
from searchspace.tree import Node, at, walk
from searchspace.vary import crossover, mutate, redraw, sites

_HEAD = "space s : image[8, 16, 16] -> classes[2]\n"


def _same_but(before: Node, after: Node, path) -> None:
    """Assert that two trees differ at `path` or below it only."""
    if not path:
        return
    (group, index), rest = path[0], path[1:]
    assert after.symbol == before.symbol
    assert after.alternative == before.alternative
    assert after.values == before.values
    assert after.scheme == before.scheme
    for g, nodes in enumerate(before.children):
        for i, node in enumerate(nodes):
            if (g, i) == (group, index):
                _same_but(node, after.children[g][i], rest)
            else:
                assert after.children[g][i] == node


@given(small_grammars(), seeds)
@settings(max_examples=30)
def test_mutants_are_valid_and_keep_the_promised_shape(grammar, seed):
    random = Random(seed)
    architecture = drawn(grammar, seed)
    for _ in range(4):
        architecture = mutate(grammar, architecture, random)
        check(grammar, architecture.root)
        assert flow(architecture.root, grammar.input) == vector(3)


@given(small_grammars(), seeds, seeds)
@settings(max_examples=30)
def test_children_of_two_are_valid_and_keep_the_promised_shape(grammar, first, second):
    child = crossover(grammar, drawn(grammar, first), drawn(grammar, second), Random(first))
    check(grammar, child.root)
    assert flow(child.root, grammar.input) == vector(3)


@given(seeds)
@settings(max_examples=15)
def test_the_shipped_space_varies_within_itself(seed):
    grammar, random = shipped(narrow=False), Random(seed)
    first, second = drawn(grammar, seed), drawn(grammar, seed + 1)
    for _ in range(3):
        child = mutate(grammar, crossover(grammar, first, second, random), random)
        check(grammar, child.root)
        first, second = second, child


@given(seeds)
@settings(max_examples=25)
def test_a_mutant_differs(seed):
    grammar = shipped()
    architecture = drawn(grammar, seed)
    assert mutate(grammar, architecture, Random(seed)) != architecture


def test_where_there_is_one_tree_the_mutant_is_that_tree():
    for text in (
        "net -> eca\n",
        "domain n = 1 | 2\nnet -> eca ^ a with a, b : n where a == 1, b == 1\n",
    ):
        grammar = read_grammar(_HEAD + text)
        architecture = drawn(grammar, 0)
        assert mutate(grammar, architecture, Random(0)) == architecture


@given(small_grammars(), seeds)
@settings(max_examples=25)
def test_a_redraw_changes_what_its_site_says_and_nothing_else(grammar, seed):
    root, random = drawn(grammar, seed).root, Random(seed)
    for site in list(sites(grammar, root))[:30]:
        after = redraw(grammar, root, site, random)
        check(grammar, after)
        if not _below_copies(grammar, root, site.path):
            _same_but(root, after, site.path)
        old, new = at(root, site.path), at(after, site.path)
        if site.kind == "scheme":
            assert new.scheme != old.scheme
            assert (new.alternative, new.values, new.children) == (
                old.alternative, old.values, old.children,
            )  # fmt: skip
        elif site.kind == "count":
            assert len(new.children[site.index]) != len(old.children[site.index])
            assert new.values == old.values
            assert all(
                new.children[g] == group for g, group in enumerate(old.children) if g != site.index
            )
        elif site.kind == "argument":
            assert new.symbol == old.symbol
            assert new.values[site.index] != old.values[site.index]
        elif site.kind == "variable":
            place = len(grammar.rules[old.symbol].parameters) + site.index
            changed = [i for i, (a, b) in enumerate(zip(old.values, new.values)) if a != b]  # noqa: B905
            assert changed in ([], [place])
            assert new.alternative == old.alternative


def _below_copies(grammar, root: Node, path) -> bool:
    """Whether a path goes through copies under `^^`, which change together."""
    node = root
    for group, index in path:
        if not node.is_primitive:
            repeat = grammar.rules[node.symbol].alternatives[node.alternative].items[group].repeat
            if repeat is not None and repeat.same:
                return True
        node = node.children[group][index]
    return False


def test_a_width_changes_the_width_alone():
    grammar, random = shipped(narrow=False), Random(0)
    root = drawn(grammar, 7).root
    for site in [site for site in sites(grammar, root) if site.label == "network.w2"] * 10:
        after = redraw(grammar, root, site, random)
        w1, _, w2, w3, _ = after.values
        assert w2 != root.values[2]
        assert w1 <= w2 <= w3
        down = after.children[2][0]
        assert (down.symbol, down.values) == ("down", (w2,))
        assert down.children[0][0].values == (w2, 2)
        # Everything but the layer that makes the width is what it was.
        assert down.children[1] == root.children[2][0].children[1]
        assert after.children[:2] == root.children[:2]
        assert after.children[3:] == root.children[3:]


_COPIES = (
    "domain n = 0 .. 3\ndomain k = 3 | 5 | 7 | 9\n"
    "net -> mix ^^ n f(a) with a : n\n"
    "f(a) -> mix ^^ a depthwise(k) ^^ a\n"
    "mix is block -> depthwise(k) | eca | residual(depthwise(k))\n"
)


def test_copies_stay_the_same_also_where_there_were_none():
    grammar, random = read_grammar(_HEAD + _COPIES, schemes=SCHEMES), Random(3)
    architecture = drawn(grammar, 0)
    grown = 0
    for _ in range(400):
        before, architecture = architecture, mutate(grammar, architecture, random)
        check(grammar, architecture.root)
        for group in (
            architecture.root.children[0], *architecture.root.children[1][0].children,
        ):  # fmt: skip
            assert len(set(group)) <= 1
        old, new = (a.root.children[1][0].children[0] for a in (before, architecture))
        grown += not old and len(new) > 1
    assert grown > 5, "the case of copies out of nothing must occur"


def test_every_kind_of_site_is_found_with_its_label():
    text = (
        "domain n = 1 | 2\ndomain one = 3\n"
        "net -> f(n) ^ n depthwise(one) with a : n\n"
        "f(x) is block -> residual(activation(act)) | eca ^ x\ndomain act = gelu | relu\n"
    )
    grammar = read_grammar(_HEAD + text, schemes=SCHEMES)
    root = next(
        root
        for root in (drawn(grammar, seed).root for seed in range(100))
        if len(root.children[0]) == 1 and root.children[0][0].alternative == 0
    )
    assert {(site.kind, site.label, site.path) for site in sites(grammar, root)} == {
        ("variable", "net.a", ()),
        ("count", "net.f", ()),
        ("argument", "f.0", ((0, 0),)),
        ("alternative", "f", ((0, 0),)),
        ("scheme", "f.scheme", ((0, 0),)),
        ("argument", "activation.0", ((0, 0), (0, 0), (0, 0))),
    }


def test_one_scheme_leaves_nothing_to_draw():
    grammar = shipped(schemes=("float",))
    root = drawn(grammar, 1).root
    assert not [site for site in sites(grammar, root) if site.kind == "scheme"]
    assert {node.scheme for _, node in walk(root)} == {"", "float"}


def test_schemes_are_mutated():
    grammar, random = shipped(), Random(0)
    root = drawn(grammar, 1).root
    site = next(site for site in sites(grammar, root) if site.kind == "scheme")
    schemes = [at(redraw(grammar, root, site, random), site.path).scheme for _ in range(5)]
    assert set(schemes) == set(SCHEMES) - {at(root, site.path).scheme}


def test_counts_change_by_one_half_of_the_time_and_keep_the_copies_that_stay():
    text = "domain n = 0 .. 20\ndomain k = 3 .. 99 step 2\nnet -> depthwise(k) ^ n\n"
    grammar, random = read_grammar(_HEAD + text), Random(1)
    root = next(r for r in (drawn(grammar, s).root for s in range(99)) if len(r.flat()) == 10)
    site = next(site for site in sites(grammar, root) if site.kind == "count")
    steps = []
    for _ in range(400):
        after = redraw(grammar, root, site, random)
        steps.append(len(after.flat()) - 10)
        remaining = iter(after.flat() if steps[-1] > 0 else root.flat())
        kept = root.flat() if steps[-1] > 0 else after.flat()
        assert all(node in remaining for node in kept), "order and values of the rest stay"
    assert 0 not in steps
    assert 0.4 < sum(abs(step) == 1 for step in steps) / 400 < 0.7
    assert {min(steps), max(steps)} == {-10, 10}


def test_the_blocks_of_a_child_come_from_its_parents():
    grammar, random = shipped(narrow=False), Random(2)
    first, second = drawn(grammar, 1), drawn(grammar, 2)
    parents = [{n for _, n in walk(a.root) if n.symbol == "block"} for a in (first, second)]
    both = 0
    for _ in range(60):
        child = crossover(grammar, first, second, random)
        blocks = {n for _, n in walk(child.root) if n.symbol == "block"}
        new = blocks - parents[0] - parents[1]
        # One graft may lie inside one block: that block mixes both, its layers are of a parent.
        assert len(new) <= 1
        parts = {n for a in (first, second) for _, n in walk(a.root)}
        layers = [n for block in new for _, n in walk(block) if not n.children]
        assert all(layer in parts for layer in layers)
        for value, a, b in zip(child.root.values, first.root.values, second.root.values):  # noqa: B905
            assert value in (a, b)
        both += bool(blocks & (parents[1] - parents[0]))
    assert both > 10


def test_a_change_keeps_below_what_fits_and_draws_anew_what_does_not():
    text = (
        "domain n = 1 .. 9\ndomain k = 3 .. 99 step 2\nnet -> f(a) with a : n\n"
        "f(x) -> depthwise(k) eca ^ x with y : n where y >= x\n"
    )
    grammar, random = read_grammar(_HEAD + text), Random(0)
    root = from_text("net:0(2)[f:0(2,5)[depthwise(7); eca*2]]")
    check(grammar, root)
    (site,) = [site for site in sites(grammar, root) if site.label == "net.a"]
    kept, anew = 0, 0
    for _ in range(60):
        (a,), ((f,),) = (after := redraw(grammar, root, site, random)).values, after.children
        check(grammar, after)
        assert a != 2
        assert f.children[0] == root.flat()[0].children[0]
        assert len(f.children[1]) == a
        if a <= 5:
            kept += 1
            assert f.values == (a, 5)
        else:
            anew += 1
            assert f.values[1] >= a
    assert kept > 5
    assert anew > 5


def test_a_change_of_shape_redraws_what_no_longer_fits():
    text = (
        "domain w = 4 | 8 | 16\nnet -> strided_conv(a, 1) part ^ 3 with a : w\n"
        "part -> shift | residual(shift) | depthwise(3)\n"
    )
    grammar, random = read_grammar(_HEAD + text), Random(0)
    root = from_text(
        "net:0(8)[strided_conv(8,1); part:0[shift] part:1[residual[shift]] part:0[shift]]"
    )
    check(grammar, root)
    (site,) = [site for site in sites(grammar, root) if site.label == "net.a"]
    for _ in range(40):
        after = redraw(grammar, root, site, random)
        check(grammar, after)
        parts = [part.alternative for part in after.children[1]]
        # `shift` needs five channels: with four only `depthwise` is left.
        assert parts == ([2, 2, 2] if after.values == (4,) else [0, 1, 0])


@pytest.mark.parametrize("variation", ["mutation", "crossover"])
def test_trees_do_not_outgrow_what_can_be_read(variation):
    text = "net -> module\nmodule -> 5 : residual(module) | 1 : eca\n"
    grammar, random = read_grammar(_HEAD + text), Random(0)
    chain = max((drawn(grammar, seed) for seed in range(20)), key=lambda a: len(a.text))
    for _ in range(400):
        new = (
            mutate(grammar, chain, random)
            if variation == "mutation"
            else crossover(grammar, chain, chain, random)
        )
        check(grammar, new.root)
        # Selection for height, which is what would let trees grow.
        chain = max(new, chain, key=lambda a: len(a.text))
    depth = max(len(path) for path, _ in walk(chain.root))
    assert 20 < depth < DEEPEST


def test_equal_copies_in_a_row_change_together_where_asked():
    text = (
        "domain k = 3 .. 99 step 2\nnet -> row(4) row(2)\nrow(n) -> mix ^ n\nmix -> depthwise(k)\n"
    )
    grammar, random = read_grammar(_HEAD + text), Random(0)
    row = "row:0({})[{}]"
    mixes = "mix:0[depthwise(3)] mix:0[depthwise(5)] mix:0[depthwise(3)]*2"
    root = from_text(f"net:0[{row.format(4, mixes)}; {row.format(2, 'mix:0[depthwise(3)]*2')}]")
    check(grammar, root)
    site = next(s for s in sites(grammar, root) if s.path[:2] == ((0, 0), (0, 2)))
    after = redraw(grammar, root, site, random, together=True)
    (new,) = after.children[0][0].flat()[2].flat()[0].values
    assert new != 3
    kernels = [mix.flat()[0].values[0] for mix in after.children[0][0].flat()]
    assert kernels == [new, 5, new, new]
    assert after.children[1] == root.children[1]
    alone = redraw(grammar, root, site, random)
    kernels = [mix.flat()[0].values[0] for mix in alone.children[0][0].flat()]
    assert kernels[:2] + kernels[3:] == [3, 5, 3]
    assert kernels[2] != 3
