"""Programmes of grammars: their figures are those of the traced networks."""

from random import Random

import pytest

from hwprofile.blocks import BlockTable
from hwprofile.targets import get_target
from nas.solver.combinations import ChainError, spread
from nas.solver.compile import Compiler
from nas.solver.design import Task, certify
from nas.solver.programme import Step
from nas.solver.solution import NoDesignError
from predictors.base import Context
from predictors.entropy import EntropyPredictor
from predictors.latency import LatencyPredictor
from searchspace.check import check
from searchspace.read import read_grammar

TINY = """
space tiny : image[3, 32, 32] -> classes[10]

domain width  = 16 .. 64 step 16
domain kernel = 3 | 5 | 7
domain depth  = 1 .. 4
domain act    = gelu | relu

network -> stem(a) stage down(b) stage head
    with a, b : width where a <= b

stem(w) is block -> strided_conv(w, 2) batch_norm
down(w) is block -> strided_conv(w, 2) batch_norm
head is block    -> global_pool layer_norm classifier(classes)
stage            -> body ^ depth

body is block
    -> residual(depthwise(kernel) layer_norm inverted(2, act))
     | residual(depthwise(kernel) batch_norm) eca
"""


@pytest.fixture(scope="module")
def made():
    grammar = read_grammar(TINY)
    return grammar, BlockTable(grammar.input), LatencyPredictor(get_target("a100"))


def chains_of(made, **bounds):
    return Compiler(*made, bounds, effectiveness=1.0).chains()


def test_figures_are_those_of_the_traced_network(made):
    grammar, table, latency = made
    chains, left_out = chains_of(made, high_ms=1.0, params=1e6, macs=1e8)
    assert not left_out
    entropy = EntropyPredictor(
        Context(grammar=grammar, spec=grammar.input, costs=lambda a: table.costs(a.root))
    )
    tried = 0
    for chain in chains:
        for seed in range(60):
            design = _any(chain, Random(seed))
            if design is None:
                continue
            tried += 1
            architecture = chain.architecture(design)
            check(grammar, architecture.root)
            costs = table.costs(architecture.root)
            figures, found = chain.programme.figures(design), entropy.entropy(costs)
            assert figures.score == pytest.approx(found.score)
            assert figures.effectiveness == pytest.approx(found.effectiveness)
            assert figures.used == pytest.approx(
                (latency.latency(costs).high, costs.params, costs.macs)
            )
    assert tried >= 20


def _any(chain, random):
    """A design that can be derived, or None."""
    source, steps = 0, []
    for layer, ways in zip(chain.programme.layers, chain.ways, strict=True):
        offered = list(ways.places(source))
        if not offered:
            return None
        place = random.choice(offered)
        steps.append(Step(*place, random.randint(*layer.copies)))
        source = place[1]
    return tuple(steps)


def task(made, **changes):
    grammar, table, latency = made
    given = {"bounds": {"high_ms": 0.2, "params": 1e5}, "effectiveness": 2.0, "seconds": 20.0}
    return Task(grammar=grammar, costs=table, latency=latency, **{**given, **changes})


def test_what_is_certified_keeps_the_bounds(made):
    grammar, table, latency = made
    proof = certify(task(made))
    assert proof.optimal
    assert proof.score <= proof.bound <= proof.score * 1.0101
    first = proof.architectures(grammar)[0]
    costs = table.costs(first.root)
    assert latency.latency(costs).high <= 0.2
    assert costs.params <= 1e5
    assert len(set(proof.designs)) == len(proof.designs) > 1


def test_a_certificate_reads_back(made):
    proof = certify(task(made))
    assert type(proof).from_json(proof.to_json()) == proof


def test_what_cannot_be_kept_is_said(made):
    with pytest.raises(NoDesignError, match=r"tiny keeps high_ms <= 1e-06.*raise high_ms to"):
        certify(task(made, bounds={"high_ms": 1e-6}))
    with pytest.raises(ChainError, match="needs a bound"):
        certify(task(made, bounds={}))


def test_values_are_spread_in_logarithm():
    assert spread(tuple(range(1, 65)), 7) == (1, 2, 4, 8, 16, 32, 64)
    assert spread(("gelu", "relu"), 1) == ("gelu", "relu")
    assert spread((3, 5), 8) == (3, 5)
