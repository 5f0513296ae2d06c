"""The front of a whole space against all of its trees."""

import json
import math

import pytest
from random_programmes import designs, random_programme
from solved_space import BOUNDS, known, proof, task, trees

from nas.solver.design import Certificate
from nas.solver.found import Measure
from nas.solver.trade import least, limits_of, resource_of
from searchspace.text import from_text


def test_scores_and_bounds_never_fall_and_every_point_keeps_its_limit():
    points = proof().front.points
    assert points[-1].limit == BOUNDS["params"]
    limits = [point.limit for point in points]
    assert limits == sorted(set(limits))
    for name in ("score", "bound"):
        values = [getattr(point, name) for point in points]
        assert values == sorted(values), name
    measure = Measure(task())
    for point in points:
        tree = known(from_text(point.architecture), measure)
        assert tree.measured.params == point.used <= point.limit
        assert tree.measured.high_ms <= BOUNDS["high_ms"]
        assert tree.measured.score == pytest.approx(point.score)
        assert tree.architecture.key == point.key


def test_the_best_tree_under_each_limit_lies_between_score_and_bound():
    for point in proof().front.points:
        best = max(t.measured.score for t in trees() if t.measured.params <= point.limit)
        assert point.score <= best * (1 + 1e-9)
        assert best <= point.bound * (1 + 1e-9)
        assert point.gap == pytest.approx((point.bound - point.score) / point.score)


def test_the_last_point_is_the_certificate_and_all_points_are_candidates():
    found = proof()
    last = found.front.points[-1]
    assert (last.score, last.architecture) == (pytest.approx(found.score), found.designs[0])
    assert last.bound == found.bound
    assert {point.architecture for point in found.front.points} <= set(found.designs)


def test_it_is_read_back_from_json():
    assert Certificate.from_json(json.loads(json.dumps(proof().to_json()))) == proof()


def test_the_first_bounded_quantity_is_taken_and_others_by_name():
    assert resource_of(task()) == "high_ms"
    assert resource_of(task(budget_ms=None)) == "params"
    assert resource_of(task(budget_ms=None, max_macs=10**9)) == "macs"
    assert resource_of(task(front_over="params")) == "params"
    with pytest.raises(ValueError, match="high_ms, params; got 'macs'; bound it first"):
        resource_of(task(front_over="macs"))


@pytest.mark.parametrize("seed", range(6))
def test_the_least_that_a_design_takes_is_that_of_all_designs(seed):
    programme = random_programme(seed)
    used = [
        figures.used[0]
        for figures in map(programme.figures, designs(programme))
        if figures.score > -math.inf
    ]
    assert least(programme, 0) == pytest.approx(min(used, default=math.inf))


def test_limits_lie_between_the_least_and_the_bound():
    programme = random_programme(1)
    limit = programme.resources[0].limit
    for used in (0.5 * limit, limit, 2 * limit):
        found = limits_of([programme], "x", used, 6)
        assert found == sorted(set(found))
        assert found[-1] == limit
        assert len(found) <= 6
        assert found[0] >= least(programme, 0)
    assert limits_of([programme], "x", least(programme, 0), 6) == [limit]
