"""Grids: what is in closed form equals what is traced, and what has no such form is left out."""

from itertools import product
from random import Random

import numpy as np
import pytest

from hwprofile.blocks import BlockTable
from hwprofile.targets import get_target
from nas.solver.compile import Compiler
from nas.solver.design import Task, certify
from nas.solver.programme import Step
from predictors.base import Context
from predictors.entropy import EntropyPredictor
from predictors.latency import LatencyPredictor
from searchspace.check import check
from searchspace.read import read_grammar

TINY = """
space tiny : image[3, 16, 16] -> classes[10]

domain width  = 8 .. 80 step 8
domain inner  = 8 .. 96 step 8
domain kernel = 3 | 5
domain depth  = 1 .. 3
domain stride = 1 | 2
domain last   = 0 | 1

network -> stem(a) first(a, b, s) body(b) ^ depth peak ^ last neck head
    with a, b : width ; s : stride where a <= b

stem(w) is block -> conv(w, 3, 2) batch_norm
first(a, b, s) is block
    -> branch(add, conv(m, 1, 1) batch_norm conv(b, 3, s) batch_norm, shortcut(a, b, s))
       with m : inner where m <= b
body(w) is block
    -> residual(conv(m, 1, 1) batch_norm depthwise(kernel) conv(w, 1, 1) batch_norm)
       with m : inner
shortcut(a, b, s)
    -> identity where a == b, s == 1
     | conv(b, 1, s) batch_norm where a != b
     | conv(b, 1, s) batch_norm where s == 2
peak is block -> conv(160, 1, 1) batch_norm
neck is block -> conv(w, 1, 1) batch_norm with w : width
head is block -> global_pool layer_norm classifier(classes)
"""
BOUNDS = {"params": 1e6, "macs": 1e9}


def compiler_of(text, **bounds):
    grammar = read_grammar(text)
    table, latency = BlockTable(grammar.input), LatencyPredictor(get_target("a100"))
    return Compiler(grammar, table, latency, bounds or BOUNDS, effectiveness=1.0)


@pytest.fixture(scope="module")
def compiler():
    return compiler_of(TINY)


@pytest.fixture(scope="module")
def chains(compiler):
    found, faults = compiler.chains()
    assert not faults
    return found


def layer_of(chain, name):
    index = [layer.name for layer in chain.programme.layers].index(name)
    item = chain.grammar.rules["network"].alternatives[0].items[index]
    return chain.programme.layers[index], chain.ways[index], item


def drawn(way, name):
    """What a way's policy answers to the question for a variable or an alternative."""
    return next((answer for label, answer in way.policy.items() if label[-1] == name), 0)


def allowed(layer):
    return [place for place in np.ndindex(*layer.shape) if layer.allowed.at(*place) == 0.0]


@pytest.mark.parametrize("name", ["stem", "first", "body", "peak", "neck", "head"])
def test_every_combination_has_the_figures_of_its_block(compiler, chains, name):
    for chain in chains:
        layer, ways, item = layer_of(chain, name)
        places = allowed(layer)
        assert places
        for place in Random(0).sample(places, min(len(places), 500)):
            way = ways[place]
            made = compiler.items.made(item, way.scope, way.spec, way.policy, way.base)
            traced = compiler.items.attributes(made[0], way.spec)
            assert layer.entropy.at(*place) == pytest.approx(traced.entropy)
            assert layer.log_width.at(*place) == pytest.approx(traced.log_width)
            assert layer.convs.at(*place) == pytest.approx(traced.convs)
            assert [cost.at(*place) for cost in layer.costs] == pytest.approx(traced.costs)
            if layer.counted:
                assert layer.blocks.at(*place) == traced.counted


def test_further_copies_add_what_is_traced(compiler, chains):
    layer, ways, item = layer_of(chains[0], "body")
    assert layer.copies == (0, 2)
    for place in Random(1).sample(allowed(layer), 100):
        way = ways[place]
        rows = []
        for count in (1, 3):
            made = compiler.items.made(item, way.scope, way.spec, way.policy, count)
            rows.append(compiler.items.attributes(made[0], way.spec))
        more = rows[1].less(rows[0])
        assert 2 * layer.again.entropy[place[1:]] == pytest.approx(more.entropy)
        assert 2 * layer.again.convs[place[1:]] == pytest.approx(more.convs)
        assert 2 * layer.again.costs[(slice(None), *place[1:])] == pytest.approx(more.costs)


def test_a_design_has_the_figures_of_its_network(compiler, chains):
    grammar, table = compiler.grammar, compiler.costs
    entropy = EntropyPredictor(
        Context(grammar=grammar, spec=grammar.input, costs=lambda a: table.costs(a.root))
    )
    for chain in chains:
        for seed in range(20):
            random, source, steps = Random(seed), 0, []
            for layer in chain.programme.layers:
                place = random.choice([p for p in allowed(layer) if p[0] == source])
                steps.append(Step(*place, random.randint(*layer.copies)))
                source = place[1]
            root = chain.architecture(tuple(steps)).root
            check(grammar, root)
            costs, figures = table.costs(root), chain.programme.figures(tuple(steps))
            found = entropy.entropy(costs)
            assert figures.score == pytest.approx(found.score)
            assert figures.effectiveness == pytest.approx(found.effectiveness)
            assert figures.used == pytest.approx((costs.params, costs.macs))


def test_all_widths_that_constraints_allow_are_there_and_no_others(chains):
    widths = range(8, 81, 8)
    for chain in chains:
        layer, ways, _ = layer_of(chain, "first")
        found = set()
        for place in allowed(layer):
            way = ways[place]
            found.add((*way.scope[:2], drawn(way, "m")))
        every = product(widths, widths, range(8, 97, 8))
        assert found == {(a, b, m) for a, b, m in every if a <= b and m <= b}


def test_a_width_that_a_rule_draws_leaves_it(chains):
    for chain in chains:
        layer, ways, _ = layer_of(chain, "neck")
        found = {(ways[p].spec.channels, drawn(ways[p], "w")) for p in allowed(layer)}
        assert found == set(product([*range(8, 81, 8), 160], range(8, 81, 8)))
        assert layer.shape == (11, 10, 1)


def test_the_shortcut_is_free_where_widths_are_equal(chains):
    one = next(c for c in chains if layer_of(c, "first")[1][0, 0, 0].scope[2] == 1)
    layer, ways, _ = layer_of(one, "first")
    for place in allowed(layer):
        a, b, inner = *ways[place].scope[:2], drawn(ways[place], "m")
        # Convolutions have no bias; a normalisation has two numbers a channel.
        main = a * inner + 2 * inner + 9 * inner * b + 2 * b
        shortcut = 0 if a == b else a * b + 2 * b
        assert layer.costs[0].at(*place) == pytest.approx(main + shortcut)


def test_what_is_there_or_not_is_two_kinds(chains):
    for chain in chains:
        layer, ways, _ = layer_of(chain, "peak")
        assert layer.again is None
        assert layer.copies == (0, 0)
        bases = {ways[place].base for place in allowed(layer)}
        assert bases == {0, 1}
        channels = {ways[place].spec.channels for place in allowed(layer)}
        assert channels == set(range(8, 81, 8))


def test_variables_of_few_values_part_a_chain(chains):
    strides, ends = [], []
    for chain in chains:
        layer, ways, _ = layer_of(chain, "first")
        strides.append({ways[place].scope[2] for place in allowed(layer)})
        ends.append([la.name for la in chain.programme.layers if la.volume is not None])
    assert strides == [{1}, {2}]
    # A scale ends in front of the layer at which the resolution falls, and behind the last.
    assert ends == [["neck"], ["stem", "neck"]]


ODD = """
space odd : image[3, 16, 16] -> classes[10]
domain width = 16 .. 256 step 16
network -> stem(w) body head with w : width
stem(w) is block -> conv(w, 3, 2) batch_norm
head is block    -> global_pool classifier(classes)
body is block    -> {kinds}
"""


def test_a_kind_without_closed_form_is_left_out_and_told():
    # The kernel of `eca` follows the logarithm of the channels, in steps.
    text = ODD.format(kinds="depthwise(3) batch_norm | depthwise(7) batch_norm eca")
    compiler = compiler_of(text)
    (chain,), faults = compiler.chains()
    layer, ways, _ = layer_of(chain, "body")
    assert {drawn(ways[place], "body") for place in allowed(layer)} == {0}
    told = "alternative 1 of 'network', 'body': alternative 2 of 'body': their costs are no poly"
    assert len(faults) == 1
    assert faults[0].startswith(told)
    grammar, table = compiler.grammar, compiler.costs
    proof = certify(
        Task(
            grammar=grammar,
            costs=table,
            latency=compiler.latency,
            bounds={"params": 1e4},
            effectiveness=1.0,
            seconds=10.0,
        )
    )
    assert proof.left_out == tuple(faults)
    assert proof.values == 64


def test_less_is_held_where_there_would_be_too_many_states(monkeypatch):
    monkeypatch.setattr("nas.solver.compile.STATES", 8)
    monkeypatch.setattr("nas.solver.compile.VALUES", 4)
    compiler = compiler_of(TINY)
    chains, _ = compiler.chains()
    assert compiler.values == 8
    for chain in chains:
        layer, ways, _ = layer_of(chain, "first")
        held = {ways[place].scope[0] for place in allowed(layer)}
        assert {8, 80} <= held <= set(range(8, 81, 8))
        assert len(held) == layer.shape[0] <= 8


@pytest.mark.parametrize(
    ("kinds", "why"),
    [
        ("depthwise(7) batch_norm eca", "no polynomials of degree two"),
        (
            "conv(l, 1, 1) conv(m, 1, 1) conv(n, 1, 1) batch_norm with l, m, n : width",
            "more than one width within",
        ),
    ],
)
def test_an_item_without_any_closed_form_is_no_layer(kinds, why):
    chains, faults = compiler_of(ODD.format(kinds=kinds)).chains()
    assert not chains
    (fault,) = faults
    assert "no kind of 'body' is in closed form" in fault
    assert why in fault
