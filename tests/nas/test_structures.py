"""DeepMAD structures as trees: published ones derive, and cost what they cost."""

from dataclasses import replace
from functools import cache
from random import Random

import pytest
from deepmad_structures import PUBLISHED, QUANTIZED
from deepmad_structures import published as published_structure
from hypothesis import given, settings
from hypothesis import strategies as st

from hwprofile.blocks import BlockTable
from nas.solver.structures import architecture_of, structure_of
from predictors.base import Context
from predictors.deepmad import deepmad
from predictors.entropy import EntropyPredictor
from predictors.structure import (
    DENSE,
    DEPTHWISE,
    GATED,
    PLAIN,
    Part,
    Structure,
    StructureError,
)
from predictors.structure_cost import counts
from searchspace.grammar import Grammar
from searchspace.published import published
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.shapes import image
from searchspace.space import load_space

CLASSES = 1000
STEM = Part(kind=PLAIN, ins=3, out=32, k=3, s=2)


@cache
def space() -> Grammar:
    return load_space("conv_resnet", classes=CLASSES)


@cache
def table() -> BlockTable:
    return BlockTable(space().input)


def squeeze_excite_differences(structure: Structure) -> tuple[int, int]:
    """Parameters and multiply-adds that the authors' squeeze-excite has beyond this space's.

    For m channels theirs has m // 4 hidden units, rounded to eights, and batch norm, two parameters
    a channel; this space's has max(8, m // 4), and biases, one parameter a channel.
    """
    params = macs = 0
    for part in structure.parts:
        if part.kind == GATED:
            m = part.btn
            theirs, ours = 8 * max(1, round(m / 4) // 8), max(8, m // 4)
            params += part.depth * (2 * m * (theirs - ours) + 2 * (theirs + m) - (ours + m))
            macs += part.depth * 2 * m * (theirs - ours)
    return params, macs


def check_costs(structure: Structure) -> None:
    """A tree costs what its structure does, with the classifier, but for squeeze-excite."""
    found = table().costs(architecture_of(structure, space()).root)
    wanted = counts(structure)
    params, macs = squeeze_excite_differences(structure)
    classifier = structure.parts[-1].out * CLASSES
    assert found.params == wanted.params - params + classifier + CLASSES
    assert found.macs == wanted.macs - macs + classifier


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_structures_derive_and_read_back(name):
    structure = published_structure(name)
    assert structure_of(architecture_of(structure, space())) == structure
    check_costs(structure)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_traced_score_is_the_papers_but_for_what_lies_on_the_border(name):
    """The traced form counts the taps that see input: on large maps nearly all do."""
    structure, resolution = published_structure(name), 64 * 32
    large = BlockTable(image(3, resolution, resolution))
    context = Context(grammar=space(), spec=large.spec, costs=lambda a: large.costs(a.root))
    costs = context.costs(architecture_of(structure, space()))
    predictor = EntropyPredictor(context)
    found, wanted = predictor.entropy(costs), deepmad(structure, resolution)
    depths = [part.depth for part in structure.parts if part.is_super]
    assert [depth for depth in predictor.depths(costs) if depth] == depths
    penalty = wanted.raw - wanted.value
    assert found.score + penalty == pytest.approx(wanted.raw, rel=0.005)
    assert found.score + penalty < wanted.raw
    assert found.effectiveness == pytest.approx(wanted.effectiveness, rel=0.01)


def test_the_published_tree_is_the_published_structure():
    assert structure_of(published("deepmad_r18")) == published_structure("DeepMAD-R18")


@st.composite
def held(draw) -> Structure:
    """Structures within the space's ranges."""
    parts = [
        Part(kind=PLAIN, ins=3, out=8 * draw(st.integers(2, 8)), k=3, s=draw(st.integers(1, 2)))
    ]
    for stride in draw(st.permutations([1, 2, 2, 2, 2])):
        kind, ins = draw(st.sampled_from([DENSE, DEPTHWISE, GATED])), parts[-1].out
        if kind == DENSE:
            out = 8 * draw(st.integers(4, 20))
            inner = 8 * draw(st.integers(2, out // 8))
        else:
            out = draw(st.one_of(st.integers(16, 200), st.just(ins)))
            inner = 8 * draw(st.integers(max(8, -(-out // 8)), (6 * out + 8) // 8))
        k, depth = draw(st.sampled_from([3, 5, 7])), draw(st.integers(1, 3))
        parts.append(Part(kind=kind, ins=ins, out=out, k=k, s=stride, btn=inner, depth=depth))
    if draw(st.booleans()):
        parts.append(Part(kind=PLAIN, ins=parts[-1].out, out=512, k=1, s=1))
    return Structure(tuple(parts))


@settings(max_examples=10, deadline=None)
@given(held())
def test_what_is_derived_reads_back(structure):
    check_costs(structure)
    assert structure_of(architecture_of(structure, space())) == structure


def test_any_tree_has_a_structure_with_its_costs_or_none():
    for seed in range(40):
        architecture = sample(space(), Random(seed))
        try:
            structure = structure_of(architecture)
        except StructureError:
            continue
        params, _ = squeeze_excite_differences(structure)
        classifier = (structure.parts[-1].out + 1) * CLASSES
        found = table().costs(architecture.root).params
        assert found == counts(structure).params - params + classifier


@pytest.mark.parametrize("name", ["resnet50", "resnet18", "vovnet39"])
def test_networks_of_other_blocks_have_no_structure(name):
    with pytest.raises(StructureError, match="is no convolution and no block of a super-block"):
        structure_of(published(name))


IDENTITY = """\
space row : image[3, 32, 32] -> classes[10]
network -> stem stage head
stem is block -> conv(64, 3, 2) batch_norm activation(relu)
stage -> block ^ 3
block is block -> branch(add, within, identity) activation(relu)
within -> conv(16, 1, 1) batch_norm activation(relu) conv(16, 5, 1) batch_norm activation(relu)
          conv(64, 1, 1) batch_norm
head is block -> global_pool classifier(classes)
"""


def test_other_shortcuts_are_looked_past_where_that_is_asked():
    tree = sample(read_grammar(IDENTITY), Random(0))
    with pytest.raises(StructureError, match="no block of a super-block"):
        structure_of(tree)
    block = Part(kind=DENSE, ins=64, out=64, k=5, s=1, btn=16, depth=3)
    stem = Part(kind=PLAIN, ins=3, out=64, k=3, s=2)
    assert structure_of(tree, any_shortcut=True) == Structure((stem, block))


def with_part(index: int, **changes) -> Structure:
    parts = list(published_structure("DeepMAD-R18").parts)
    parts[index] = replace(parts[index], **changes)
    if "out" in changes and index + 1 < len(parts):
        parts[index + 1] = replace(parts[index + 1], ins=changes["out"])
    return Structure(tuple(parts))


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (lambda: published_structure(next(iter(QUANTIZED))), "bits have no place in a tree"),
        (lambda: Structure((STEM,)), "5 super-blocks and perhaps a convolution; got ConvKX"),
        (lambda: with_part(0, ins=1), "take the image's 3 channels; got 1"),
        (lambda: with_part(0, k=5), "must have the kernel 3.*got 5"),
        (lambda: with_part(1, out=100), "does not hold this: .*32 .. 2048 step 8; got 100"),
        (lambda: with_part(2, depth=16), "does not hold this: .*0 .. 14; got 15"),
        (lambda: with_part(1, s=1), "four of the five super-blocks must have the stride 2; got 3"),
    ],
)
def test_what_the_space_does_not_hold(structure, message):
    with pytest.raises(StructureError, match=message):
        architecture_of(structure(), space())


def test_only_this_space_holds_structures():
    grammar = load_space("mobile")
    with pytest.raises(StructureError, match="trees of the space 'conv_resnet'; got 'mobile'"):
        architecture_of(published_structure("DeepMAD-R18"), grammar)
