"""DeepMAD's closed form: the published figures, and what sets the toolbox's form apart."""

import math
from dataclasses import replace

import pytest
from deepmad_structures import PUBLISHED, QUANTIZED, published, structures
from hypothesis import given

from predictors.deepmad import deepmad, maedet, qe_score
from predictors.entropy import quantization_gain
from predictors.structure import DENSE, GATED, PLAIN, Part, Structure, StructureError

DENSE_ONES = [name for name in PUBLISHED if "-R" in name]
GATED_ONES = [name for name in PUBLISHED if "-R" not in name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_scores(name):
    found, wanted = deepmad(published(name), form="toolbox"), PUBLISHED[name]
    assert found.value == pytest.approx(wanted["score"], rel=1e-12)
    assert found.raw == pytest.approx(wanted["raw"], rel=1e-12)
    assert found.effectiveness == pytest.approx(wanted["effectiveness"], rel=1e-12)
    rows = [[stage.blocks, stage.layers, stage.channels, stage.height] for stage in found.stages]
    assert rows == wanted["stages"]
    assert maedet(published(name)) == pytest.approx(wanted["maedet"], rel=1e-12)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_form_keeps_the_height_behind_gates(name):
    found = deepmad(published(name))
    assert found.raw == pytest.approx(PUBLISHED[name]["raw_true_resolution"], rel=1e-12)
    assert [stage.height for stage in found.stages][-1] == 7


@pytest.mark.parametrize("name", QUANTIZED)
def test_published_mixed_precision(name):
    structure, wanted = published(name), QUANTIZED[name]
    assert qe_score(structure) == pytest.approx(wanted["qe_score"], rel=1e-12)
    found = deepmad(structure, form="toolbox")
    assert found.raw == pytest.approx(wanted["toolbox_raw"], rel=1e-12)
    assert found.effectiveness == pytest.approx(wanted["effectiveness"], rel=1e-12)


@pytest.mark.parametrize("name", DENSE_ONES)
def test_the_toolbox_leaves_two_depths_out_of_the_penalty(name):
    structure = published(name)
    assert deepmad(structure).raw == deepmad(structure, form="toolbox").raw
    changed = list(structure.parts)
    changed[1] = replace(changed[1], depth=40)
    uneven = Structure(tuple(changed))
    same = deepmad(structure, form="toolbox").penalty
    assert deepmad(uneven, form="toolbox").penalty == same
    assert deepmad(uneven).penalty > deepmad(structure).penalty > same


@pytest.mark.parametrize("name", GATED_ONES)
def test_elsewhere_the_penalties_are_the_same(name):
    structure = published(name)
    assert deepmad(structure).penalty == deepmad(structure, form="toolbox").penalty


def test_two_parts_in_closed_form():
    structure = Structure(
        (
            Part(kind=PLAIN, ins=3, out=8, k=3, s=2),
            Part(kind=DENSE, ins=8, out=16, k=5, s=2, btn=4, depth=2),
        )
    )
    found = deepmad(structure, 64)
    stem = math.log(3 * 9) / 2
    both = stem + math.log((8 * 4 * 25 * 4) * (16 * 4 * 25 * 4)) / 2
    raw = math.log(8 * 32**2) * stem + 8 * math.log(16 * 16**2) * both
    assert found.value == pytest.approx(raw - 10 * math.e**0)
    assert found.effectiveness == pytest.approx(max(1 / 27, 7 / math.exp(2 * both / 7)))


@given(structures(bits=True))
def test_bits_add_their_gain_to_every_convolution(structure):
    plain = Structure(tuple(replace(part, bits=None) for part in structure.parts))
    pairs = [pair for part in structure.parts for pair in part.bits]
    last = deepmad(structure, 224).stages[-1]
    assert last.gain == pytest.approx(sum(quantization_gain(w, a) for a, w in pairs))
    assert last.entropy == deepmad(plain, 224).stages[-1].entropy
    weights = [0.0] * (len(deepmad(plain).stages) - 1) + [1.0]
    gained = qe_score(structure, weights) - maedet(structure, weights)
    assert gained == pytest.approx(last.gain)
    volume = math.log(last.channels) + 2 * math.log(last.height)
    if len(weights) == 1:
        assert deepmad(structure).raw - deepmad(plain).raw == pytest.approx(8 * volume * last.gain)


@given(structures(bits=False))
def test_deeper_and_larger_scores_more_in_raw(structure):
    deeper = Structure(
        tuple(replace(p, depth=p.depth + 1) if p.is_super else p for p in structure.parts)
    )
    assert deepmad(deeper).raw >= deepmad(structure).raw
    assert deepmad(deeper).penalty == pytest.approx(deepmad(structure).penalty)
    assert deepmad(structure, 448).raw > deepmad(structure, 224).raw


def short(kind=DENSE) -> Structure:
    stem = Part(kind=PLAIN, ins=3, out=8, k=3, s=2)
    return Structure((stem, Part(kind=kind, ins=8, out=8, k=3, s=2, btn=4)))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: deepmad(short(), form="exact"), "form must be one of paper, toolbox; got 'exact'"),
        (lambda: deepmad(short(), form="toolbox"), "needs 5 stages; got 2: use form='paper'"),
        (lambda: deepmad(short(), 30), "multiple of .*stride, 4; got 30"),
        (lambda: maedet(short()), "5 weights need as many stages; got 2"),
        (lambda: qe_score(short()), "needs the bits of every part"),
    ],
)
def test_what_has_no_score(ask, message):
    with pytest.raises(StructureError, match=message):
        ask()


def test_the_toolbox_cannot_halve_what_it_takes_for_one():
    parts = list(short(GATED).parts)
    for _ in range(3):
        parts.append(Part(kind=PLAIN, ins=8, out=8, k=3, s=2))
    with pytest.raises(StructureError, match="height 1"):
        deepmad(Structure(tuple(parts)), form="toolbox")
    assert deepmad(Structure(tuple(parts))).value > 0


def test_the_toolbox_needs_five_super_blocks_of_the_dense_kind():
    parts = published("DeepMAD-R18").parts
    extra = Part(kind=DENSE, ins=672, out=672, k=3, s=1, btn=8)
    with pytest.raises(StructureError, match="needs 5 super-blocks; got 6"):
        deepmad(Structure((*parts, extra)), form="toolbox")
