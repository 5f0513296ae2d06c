"""Chains: designs as trees, and rows whose copies are unlike."""

import pytest

from hwprofile.blocks import BlockTable
from hwprofile.targets import get_target
from nas.solver.chain import with_copies
from nas.solver.compile import Compiler
from nas.solver.programme import Step
from predictors.latency import LatencyPredictor
from searchspace.check import TreeError, check
from searchspace.read import read_grammar
from searchspace.tree import Node

TEXT = """
space tiny : image[3, 16, 16] -> classes[10]
domain width  = 8 .. 96 step 8
domain kernel = 3 | 5 | 7
domain depth  = 1 .. 4
network -> stem(w) body {repeat} depth head with w : width
stem(w) is block -> conv(w, 3, 2) batch_norm
body is block    -> residual(depthwise(kernel) batch_norm) | eca
head is block    -> global_pool classifier(classes)
"""


def chain_of(repeat, **bounds):
    grammar = read_grammar(TEXT.format(repeat=repeat))
    table, latency = BlockTable(grammar.input), LatencyPredictor(get_target("a100"))
    (chain,), _ = Compiler(grammar, table, latency, bounds, effectiveness=1.0).chains()
    return grammar, chain


def design_of(chain, *, copies):
    source, steps = 0, []
    for layer, ways in zip(chain.programme.layers, chain.ways, strict=True):
        place = next(iter(ways.places(source)))
        steps.append(Step(*place, min(copies, layer.copies[1])))
        source = place[1]
    return tuple(steps)


@pytest.mark.parametrize("bounds", [{"params": 1e5}, {"params": 1e5, "high_ms": 1.0}])
def test_copies_that_are_drawn_anew_may_be_unlike(bounds):
    grammar, chain = chain_of("^", **bounds)
    assert chain.mixable() == [1]
    design = design_of(chain, copies=3)
    step = design[1]
    other = next(m for m in chain.ways[1].modes(*step[:2]) if m != step.mode)
    root = chain.architecture(design, {1: {other: 2}}).root
    check(grammar, root)
    row = root.children[1]
    assert len(row) == 4
    assert row[0] == row[1] != row[2] == row[3]
    assert row[:2] == chain.architecture(design).root.children[1][:2]


def test_copies_of_one_draw_may_not():
    assert chain_of("^^", params=1e5)[1].mixable() == []


def test_the_longest_row_ends_with_the_others():
    def stage(*kinds):
        return Node("stage", 0, (), (tuple(Node("b", k, (), ()) for k in kinds),))

    found = with_copies((stage(0, 0, 0),), [((stage(1, 1, 1),), 1), ((stage(2, 2, 2),), 1)])
    assert found == (stage(0, 1, 2),)
    assert with_copies((stage(0, 0),), []) == (stage(0, 0),)
    with pytest.raises(TreeError, match="unlike stages"):
        with_copies((stage(0, 0),), [((Node("stage", 1, (), ()),), 1)])
