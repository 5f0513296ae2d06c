"""What holds of every space that ships, drawn in known shapes."""

from random import Random

import pytest
import torch

from searchspace import room
from searchspace.branching import branching_rate
from searchspace.build import build, flow
from searchspace.check import check
from searchspace.grammar import GrammarError
from searchspace.parameters import parameters
from searchspace.read import read_grammar
from searchspace.sample import sample, sample_within
from searchspace.shapes import vector
from searchspace.space import load_space, space_names
from searchspace.table import table_of
from searchspace.tree import walk
from searchspace.vary import crossover, mutate

_HEAD = "space s : image[8, 16, 16] -> classes[2]\n"


@pytest.mark.parametrize("name", space_names())
def test_draws_and_variants_of_every_space_are_of_it(name):
    grammar, random = load_space(name), Random(3)
    first = sample(grammar, random)
    for _ in range(4):
        second = sample(grammar, random)
        for found in (second, mutate(grammar, first, random)):
            check(grammar, found.root)
            assert flow(found.root, grammar.input).shape == (grammar.classes,)
        first = crossover(grammar, first, second, random)
        check(grammar, first.root)


def test_draws_of_einspace_run_forward_and_backward_without_nan():
    grammar, random = load_space("einspace"), Random(11)
    table = table_of(grammar)
    large = 0
    for number in range(300):
        root = sample(grammar, random).root
        check(grammar, root)
        if table.nodes(root) > 45:
            large += 1  # the benchmark runs those too
            continue
        torch.manual_seed(number)
        network = build(root, grammar.input)
        x = torch.randn(2, *grammar.input.shape, requires_grad=True)
        y = network(x)
        assert y.shape == (2, grammar.classes)
        y.square().sum().backward()
        assert y.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    assert large < 75


def test_a_derivation_that_may_hardly_look_ahead_still_ends_in_a_tree(monkeypatch):
    monkeypatch.setattr(room, "LOOKS", 0)
    monkeypatch.setattr(room, "FEW", 1)
    grammar, random = load_space("einspace"), Random(0)
    for _ in range(30):
        architecture = sample(grammar, random)
        check(grammar, architecture.root)
        mutant = mutate(grammar, architecture, random)
        check(grammar, mutant.root)
        assert flow(mutant.root, grammar.input) == vector(grammar.classes)


def test_options_that_only_a_later_shape_forbids_are_not_offered():
    text = (
        "domain w = 4 | 8\ndomain p = 2 | 3 | 4\n"
        "net -> patch_conv_or(a) mix global_pool classifier(classes) with a : w\n"
        "patch_conv_or(a) -> conv(a, 3, p) | conv(a, 16, 16)\n"
        "mix -> strided_max_pool(8, 8)\n"
    )
    grammar, random = read_grammar(_HEAD + text), Random(0)
    strides = set()
    for _ in range(60):
        root = sample(grammar, random).root
        strides |= {n.values[2] for _, n in walk(root) if n.symbol == "conv"}
    # Of the images of 8, 6, 4 and 1 pixels that can leave, a window of 8 fits the first alone.
    assert strides == {2}


def test_bodies_that_are_joined_meet():
    text = (
        "domain w = 4 | 8 | 16\nlimit nodes <= 60\n"
        "net -> module global_pool classifier(classes)\n"
        "module -> 3 : conv(w, 3, 1) | 1 : eca | 1 : conv(w, 3, 2) | 1 : module module\n"
        "        | 1 : branch(add, module, module) | 1 : branch(concat, module, module)\n"
    )
    grammar, random = read_grammar(_HEAD + text), Random(0)
    table = table_of(grammar)
    seen = set()
    for _ in range(300):
        root = sample(grammar, random).root
        check(grammar, root)
        assert table.nodes(root) <= 60
        for _, node in walk(root):
            if node.symbol == "branch":
                seen.add((node.values[0], *(g[0].alternative for g in node.children)))
    assert len(seen) > 20, "all kinds of modules stand in branches"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("module -> 62 : eca | 13 : module module | 13 : residual(module)", 39 / 88),
        ("module -> eca | residual(module) module", 1.0),
        ("module -> eca | fork_copies(4, clone, add, module)", 2.0),
        ("domain n = 1 | 3\nmodule -> 3 : eca | 1 : module ^ n", 0.5),
        ("module -> 1 : eca | 1 : other\nother -> module module", 1.0),
        ("module -> eca", 0.0),
        ("module -> f(4)\nf(n) -> eca f(n - 1) f(n - 1) where n > 0 | eca where n == 0", 0.0),
    ],
)
def test_the_branching_rate_is_that_of_what_is_built(text, rate):
    grammar = read_grammar(f"{_HEAD}net -> module\n{text}\nlimit nodes <= 900\n")
    found, _ = branching_rate(grammar)
    # Two kinds in turn: the rate of a kind is that of two steps, the root of it that of one.
    assert found == pytest.approx(rate)


def test_einspace_branches_as_its_paper_argues():
    assert branching_rate(load_space("einspace"))[0] == pytest.approx(0.98, abs=2e-3)


def test_a_space_that_explodes_is_refused_with_the_cure():
    text = _HEAD + "net -> module\nmodule -> eca\n  | 2 : module module\n"
    with pytest.raises(GrammarError) as caught:
        read_grammar(text)
    assert (caught.value.line, caught.value.column) == (3, 1)
    assert "leads to 1.33 more of its kind" in str(caught.value)
    assert "limit nodes <=" in str(caught.value)
    read_grammar(text + "limit nodes <= 30\n")


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("net -> to_tokens depthwise(3)", (2, 18), "'depthwise' takes nothing that reaches it"),
        ("net -> strided_conv(4, 2) shift", (2, 27), "5 channels or more"),
        ("net -> residual(strided_conv(8, 2))", (2, 8), "'residual' takes nothing"),
        ("net -> eca eca\nlimit nodes <= 2", (2, 1), "no tree of s has 2 nodes or fewer"),
        ("net -> conv(64, 1, 1)\nlimit elements <= 9999", (2, 8), "more elements than the limit"),
        ("net -> f(0)\nf(n) -> eca f(n + 1) where n >= 0 | bias where n < 0", (3, 1), "go on"),
    ],
)
def test_a_space_in_which_nothing_fits_is_refused_where_it_stops(text, place, said):
    with pytest.raises(GrammarError, match=said) as caught:
        read_grammar(_HEAD + text + "\n")
    assert (caught.value.line, caught.value.column) == place


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("limit width <= 3", "a limit is on nodes or elements; got 'width'"),
        ("limit nodes <= 0", "a limit must be at least 1"),
        ("limit nodes <= 9\nlimit nodes <= 8", "there is a limit on nodes already"),
    ],
)
def test_wrong_limits_are_refused(statement, said):
    with pytest.raises(GrammarError, match=said):
        read_grammar(f"{_HEAD}net -> eca\n{statement}\n")


def test_draws_within_ranges_lie_there_and_count_as_torch_does():
    grammar, random = load_space("einspace"), Random(2)
    table = table_of(grammar)
    for _ in range(15):
        root = sample_within(grammar, random, nodes=(8, 60), params=(10_000, 500_000)).root
        network = build(root, grammar.input)
        assert 8 <= table.nodes(root) <= 60
        numbers = sum(parameter.numel() for parameter in network.parameters())
        assert numbers == parameters(root, grammar.input)
        assert 10_000 <= numbers <= 500_000
