"""The mixed-integer programme against exhaustive enumeration."""

import math

import pytest
from random_programmes import best, designs, random_programme

from nas.solver.milp import MOST, TooLargeError, milp
from nas.solver.superblocks import dense


@pytest.mark.parametrize("seed", range(50))
def test_it_finds_what_enumeration_finds(seed):
    programme = random_programme(seed)
    wanted = best(programme)
    solution = milp(programme, gap=1e-6, seconds=60)
    assert solution.optimal
    assert solution.progress.score == pytest.approx(wanted, rel=2e-6)
    assert solution.progress.bound == pytest.approx(wanted, rel=2e-6)
    assert (solution.design is None) == (wanted == -math.inf)


def test_it_leaves_out_what_it_is_told_to():
    programme = random_programme(1)
    scores = sorted(
        (
            programme.figures(design).score
            for design in designs(programme)
            if not programme.excess(programme.figures(design))
        ),
        reverse=True,
    )
    taken = []
    for wanted in scores[:4]:
        solution = milp(programme, gap=1e-6, without=taken)
        assert solution.design not in taken
        assert solution.progress.score == pytest.approx(wanted, rel=2e-6)
        taken.append(solution.design)


def test_no_time_is_no_proof():
    solution = milp(random_programme(1), seconds=0.0)
    assert solution.design is None
    assert not solution.optimal
    assert solution.progress.bound == math.inf


def test_too_many_combinations_are_refused_with_the_cure():
    widths = list(range(8, 1600, 8))
    programme = dense(widths=widths, mids=widths).programme(params=1e7)
    with pytest.raises(TooLargeError, match=f"{MOST:,}.*--solver dp"):
        milp(programme)
