"""DeepMAD structures: what is read is what was written, and what is refused."""

import json

import pytest
from deepmad_structures import PUBLISHED, QUANTIZED, published, structures
from hypothesis import given

from predictors.structure import (
    DENSE,
    PLAIN,
    Part,
    Structure,
    StructureError,
    read_structure,
    write_structure,
)

STEM = {"class": PLAIN, "in": 3, "out": 8, "k": 3, "s": 2}
SUPER = {"class": DENSE, "in": 8, "out": 16, "k": 5, "s": 2, "btn": 4, "L": 2}


@pytest.mark.parametrize("name", [*PUBLISHED, *QUANTIZED])
def test_published_structures_read_and_write_as_they_are(name):
    form = (PUBLISHED | QUANTIZED)[name]["structure"]
    assert write_structure(read_structure(form)) == form


@given(structures())
def test_json_reads_back_to_the_same(structure):
    assert read_structure(json.loads(json.dumps(write_structure(structure)))) == structure


def test_the_authors_own_files_read_too():
    """They leave out strides of 1 and name the class of the inner blocks."""
    loose = {**SUPER, "inner_class": "ResK1KXK1"}
    del loose["s"]
    assert read_structure([STEM, loose]) == read_structure([STEM, {**SUPER, "s": 1}])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ("R18", "must be a list of parts; got str"),
        ([], "at least one part"),
        ([3], "part 0 of the structure: must be an object; got int"),
        ([{**STEM, "class": "Conv"}], "one of ConvKXBNRELU, .*'Conv'"),
        ([{"in": 3, "out": 8, "k": 3}], "lacks 'class'"),
        ([STEM, {**SUPER, "L": None}], "part 1 .*'L' must be an integer of at least 1; got None"),
        ([STEM, {**SUPER, "btn": 0}], "'btn' must be an integer of at least 1; got 0"),
        ([{**STEM, "out": True}], "'out' must be an integer .*got True"),
        ([{**STEM, "k": 4}], "'k' must be odd.*got 4"),
        ([{**STEM, "s": 4}], "'s' must be 1 or 2; got 4"),
        ([{**STEM, "L": 2}], "got 'L'"),
        ([{**STEM, "width": 2}], "got 'width'"),
        ([STEM, {**SUPER, "in": 9}], "'in' of part 1 must be 'out' of part 0, 8; got 9"),
        ([{**STEM, "nbitsA": 8}], "'nbitsA', 'nbitsW'; got 'nbitsA'"),
        ([{**STEM, "nbitsA": 8, "nbitsW": 0}], r"from 1 to 32; got \(8, 0\)"),
        ([{**STEM, "nbitsA": "8", "nbitsW": 8}], "'nbitsA' must be an integer or a list"),
        ([{**STEM, "nbitsA": [8, 8], "nbitsW": [8]}], "equally long; got 2 and 1"),
        ([{**STEM, "nbitsA": 8, "nbitsW": 8}, SUPER], "for all parts or for none"),
        ([{**SUPER, "nbitsA": [8, 8, 8], "nbitsW": [4, 4, 4]}], "6 convolutions.*got 3"),
    ],
)
def test_what_is_no_structure(parts, message):
    with pytest.raises(StructureError, match=message):
        read_structure(parts)


def test_plain_convolutions_have_no_inner_width():
    with pytest.raises(StructureError, match="neither 'btn' nor 'L'"):
        Part(kind=PLAIN, ins=3, out=8, k=3, s=1, btn=4)


def test_sizes_fall_with_each_stride():
    assert published("DeepMAD-R18").sizes(224) == (224, 112, 56, 28, 14, 14, 7)
    assert published("DeepMAD-R18").stride == 32
    assert Structure((Part(kind=PLAIN, ins=3, out=8, k=3, s=1),)).sizes(7) == (7, 7)


@pytest.mark.parametrize("resolution", [225, 0, -32, 32.0])
def test_a_resolution_must_suit_the_stride(resolution):
    with pytest.raises(StructureError, match=f"multiple of .*stride, 32; got {resolution}"):
        published("DeepMAD-R18").sizes(resolution)
