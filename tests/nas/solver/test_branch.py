"""Branch and bound against exhaustive enumeration, and its bounds against every design."""

import math
from random import Random

import numpy as np
import pytest
from random_programmes import best, designs, random_programme

from nas.solver.box import whole
from nas.solver.branch import branch
from nas.solver.lagrange import Prices, Relaxation


@pytest.mark.parametrize("seed", range(50))
def test_it_finds_what_enumeration_finds(seed):
    programme = random_programme(seed)
    wanted = best(programme)
    solution = branch(programme, gap=1e-9, seconds=60)
    assert solution.optimal
    assert solution.progress.score == pytest.approx(wanted, rel=1e-9)
    assert solution.progress.bound == pytest.approx(wanted, rel=1e-8)
    assert (solution.design is None) == (wanted == -math.inf)


@pytest.mark.parametrize("seed", range(20))
def test_at_any_prices_no_design_exceeds_the_bound(seed):
    programme, random = random_programme(seed), Random(seed)
    relaxation = Relaxation(programme)
    box = whole(programme)
    highest = best(programme)
    for _ in range(10):
        scales = np.array([random.random() * 3 for _ in relaxation.scales])
        prices = Prices(
            np.array([random.random() * 20 for _ in range(2)]),
            scales * (programme.effectiveness is not None),
            np.array([1 + random.random() * 10 for _ in relaxation.scales]),
            evenness=random.random() * relaxation.convex,
            centre=np.array([1 + random.random() * 4 for _ in range(programme.groups)])
            if programme.groups
            else None,
        )
        bound = relaxation.bound(box, prices)
        assert bound.value >= highest - 1e-9
        if bound.design is not None:
            assert bound.ends.max() == pytest.approx(bound.value)


def test_boxes_part_the_designs():
    programme = random_programme(3)
    every = list(designs(programme))
    box = whole(programme)
    first, second = box.cut(every[:7], [1.0] * 7)
    for design in every:
        assert box.holds(design)
        assert first.holds(design) != second.holds(design)
