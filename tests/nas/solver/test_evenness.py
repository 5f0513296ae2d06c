"""The penalty from below, against the penalty of every design."""

import math
from itertools import product
from random import Random

import numpy as np
import pytest

from nas.solver.evenness import evenness, spread
from nas.solver.programme import Layer, Programme, Sum


def penalty(factor, depths):
    """Section 3.5 of DeepMAD, over depths above 0."""
    found = [d for d in depths if d > 0]
    mean = sum(found) / len(found)
    return factor * math.exp(math.sqrt(sum((d - mean) ** 2 for d in found) / len(found)))


@pytest.mark.parametrize("least", [0, 1])
def test_no_depths_have_a_smaller_penalty(least):
    random = Random(least)
    for _ in range(40):
        ranges = [(least, 5), (1, random.randint(2, 6)), (least, 4)]
        low, high = 2 + random.randint(0, 5), 8 + random.randint(0, 6)
        bound = evenness(10.0, ranges, (low, high), random.uniform(0, 40))
        for depths in product(*(range(a, b + 1) for a, b in ranges)):
            if low <= sum(depths) <= high:
                assert bound.of(depths) <= penalty(10.0, depths) * (1 + 1e-12)


@pytest.mark.parametrize("depths", [(1, 9, 2), (12, 1, 1, 3), (20, 1)])
def test_it_touches_where_the_sum_is_known(depths):
    total = sum(depths)
    bound = evenness(10.0, [(1, 30)] * len(depths), (total, total), spread(depths))
    assert bound.of(depths) == pytest.approx(penalty(10.0, depths))


def test_spread_is_the_sum_of_squares_about_the_mean_of_depths_above_0():
    assert spread([1, 5, 0]) == 8.0
    assert spread([]) == 0.0


def test_there_is_none_where_all_depths_may_be_0():
    assert evenness(10.0, [(0, 3), (0, 2)], (0, 5), 1.0) is None


def test_a_number_of_copies_is_worth_its_share_of_the_bound():
    bound = evenness(10.0, [(1, 9), (1, 9)], (4, 8), 20.0)
    worth = bound.worth((1.0, 1.0), (0, 4), each=3.0)
    depths = range(1, 6)
    alone = [bound.constant - bound.of([depth]) + 3.0 * (depth - 1) for depth in depths]
    assert list(worth) == pytest.approx(alone)
    # Of what the first copy may count as, the best counts.
    either = bound.worth((0.0, 1.0), (0, 4), each=3.0)
    assert all(more >= one - 1e-12 for more, one in zip(either, worth, strict=True))


def test_the_penalty_of_a_programme_is_the_same_as_this_one():
    layer = Layer(
        name="",
        shape=(1, 1, 1),
        entropy=Sum(),
        log_width=Sum(),
        convs=Sum(),
        costs=(),
        volume=np.ones(1),
    )
    programme = Programme(layers=(layer,), resources=())
    assert programme.unevenness([1, 7, 3, 0]) == pytest.approx(penalty(10.0, [1, 7, 3, 0]))
