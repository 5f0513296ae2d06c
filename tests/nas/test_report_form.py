"""What a result says of a design: its stages, and a structure that gives the score again."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from deepmad_structures import PUBLISHED
from deepmad_structures import published as published_structure
from hypothesis import given, settings
from strategies import shipped_architectures

from hwprofile.blocks import BlockTable
from nas.report.form import form
from nas.solver.structures import architecture_of
from predictors.deepmad import deepmad
from predictors.structure import read_structure
from predictors.structure_cost import counts
from searchspace.published import published
from searchspace.space import load_space
from searchspace.text import from_text

FORMS = ("paper", "toolbox")


def looks(architecture, grammar):
    return json.loads(json.dumps(form(architecture, BlockTable(grammar.input))))


@pytest.mark.parametrize("name", ["DeepMAD-R18", "DeepMAD-29M-224"])
def test_a_published_structure_is_told_as_it_was_published(name):
    grammar = load_space("conv_resnet")
    found = looks(architecture_of(published_structure(name), grammar), grammar)
    wanted = PUBLISHED[name]
    given = [{"s": 1, **part} for part in wanted["structure"]]
    given = [{key: part[key] for key in part if key != "inner_class"} for part in given]
    assert found["structure"] == given
    figures = found["structure_figures"]
    for key in ("params", "flops"):
        assert figures[key] == pytest.approx(wanted[key], rel=1e-9), key
    for key in ("effectiveness", "score"):
        assert figures["toolbox"][key] == pytest.approx(wanted[key], rel=1e-6), key


def test_anyone_can_recompute_the_figures_from_the_structure():
    grammar = load_space("conv_resnet")
    structure = architecture_of(published_structure("DeepMAD-R34"), grammar)
    found = looks(structure, grammar)
    read, figures = read_structure(found["structure"]), found["structure_figures"]
    cost = counts(read, figures["resolution"])
    assert (figures["params"], figures["macs"], figures["flops"]) == (
        cost.params,
        cost.macs,
        cost.flops,
    )
    for name in FORMS:
        score = deepmad(read, figures["resolution"], form=name)
        assert figures[name]["score"] == pytest.approx(float(score.value), rel=1e-12)
        assert figures[name]["effectiveness"] == pytest.approx(float(score.effectiveness))
    # The classifier is no part of a structure.
    tree = sum(stage["params"] for stage in found["stages"])
    last = read.parts[-1].out
    assert tree == figures["params"] + last * 1000 + 1000


@settings(max_examples=10)
@given(shipped_architectures())
def test_stages_follow_one_another_and_add_up(architecture):
    grammar = load_space(architecture.space)
    table = BlockTable(grammar.input)
    found = form(architecture, table)
    stages, costs = found["stages"], table.costs(architecture.root)
    assert sum(stage["params"] for stage in stages) == costs.params
    assert sum(stage["macs"] for stage in stages) == costs.macs
    assert sum(stage["depth"] for stage in stages) == len(costs.blocks)
    for before, after in pairwise(stages):
        assert before["out"] == after["in"]
    for stage in stages:
        assert sum(kind["count"] for kind in stage["blocks"]) == stage["depth"]
    if found["structure"] is None:
        assert found["why_no_structure"]


def test_kernels_widths_and_heights_of_convnext_are_told():
    grammar = load_space("conv_large_kernel")
    found = looks(published("convnext_tiny"), grammar)
    assert found["structure"] is None
    assert "no block of a super-block" in found["why_no_structure"]
    stages = [stage for stage in found["stages"] if stage["symbol"] == "stage"]
    assert [stage["depth"] for stage in stages] == [3, 3, 9, 3]
    assert [stage["out"]["channels"] for stage in stages] == [96, 192, 384, 768]
    assert [stage["out"]["height"] for stage in stages] == [56, 28, 14, 7]
    assert [stage["kernels"] for stage in stages] == [[7]] * 4


def test_blocks_with_a_precision_of_their_own_are_no_structure():
    grammar = load_space("conv_resnet", schemes=("float", "w8a8"))
    architecture = architecture_of(published_structure("DeepMAD-R18"), load_space("conv_resnet"))
    text = architecture.text.replace("@float", "@w8a8", 1)
    changed = replace(architecture, root=from_text(text))
    assert "precision of their own" in looks(changed, grammar)["why_no_structure"]
