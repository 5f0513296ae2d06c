"""Many designs at once equal the same designs one by one."""

from dataclasses import replace

import numpy as np
import pytest
from deepmad_structures import PUBLISHED, QUANTIZED, published, structures
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.deepmad import deepmad
from predictors.designs import designs_of
from predictors.structure import DENSE, GATED, StructureError
from predictors.structure_cost import counts

R18, MOBILE = published("DeepMAD-R18"), published("DeepMAD-29M-224")


@settings(max_examples=30)
@given(st.data(), st.sampled_from([R18, MOBILE]), st.sampled_from(["paper", "toolbox"]))
def test_arrays_equal_single_designs(data, template, form):
    drawn = structures((DENSE, GATED), bits=False, template=template)
    ones = data.draw(st.lists(drawn, min_size=1, max_size=4))
    designs = designs_of(ones)
    scores, costs = designs.score(form=form), designs.counts()
    for index, one in enumerate(ones):
        assert designs.structure(index) == one
        alone = deepmad(one, form=form)
        assert scores.value[index] == pytest.approx(alone.value, rel=1e-12)
        assert scores.effectiveness[index] == pytest.approx(alone.effectiveness, rel=1e-12)
        assert scores.penalty[index] == pytest.approx(alone.penalty, rel=1e-12)
        cost = counts(one)
        assert (costs.params[index], costs.macs[index]) == (cost.params, cost.macs)
        assert (costs.size[index], costs.flops[index]) == (cost.size, cost.flops)


def test_the_published_ones_together():
    names = ["DeepMAD-R18", "DeepMAD-R34", "DeepMAD-R50"]
    found = designs_of([published(name) for name in names]).score(form="toolbox")
    np.testing.assert_allclose(found.value, [PUBLISHED[n]["score"] for n in names], rtol=1e-12)
    assert len(designs_of([R18, R18])) == 2


def test_what_is_refused():
    with pytest.raises(StructureError, match="same classes"):
        designs_of([R18, MOBILE])
    with pytest.raises(StructureError, match="at least one"):
        designs_of([])
    with pytest.raises(StructureError, match="must not have bits"):
        designs_of([published(next(iter(QUANTIZED)))])
    with pytest.raises(StructureError, match=r"'k' must have the shape .* \(1, 6\); got \(1, 5\)"):
        replace(designs_of([R18]), k=np.ones((1, 5), np.int64))
