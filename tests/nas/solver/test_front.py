"""Fronts against enumeration; shadow prices against finite differences of the bound."""

import math
from dataclasses import replace

import pytest
from random_programmes import best, random_programme

from nas.solver.branch import branch
from nas.solver.front import Shadow, front, shadows, undominated, within
from nas.solver.superblocks import dense

WIDTHS = [16, 32, 64, 96, 128, 192, 256, 384, 512, 768]


@pytest.mark.parametrize("seed", [1, 2, 8])
def test_each_point_is_the_best_under_its_bound(seed):
    programme = random_programme(seed)
    limits = [programme.resources[0].limit * part for part in (1.5, 0.3, 0.6, 1.0, 3.0)]
    points = front(programme, "x", limits, gap=1e-6)
    assert [point.limit for point in points] == sorted(limits)
    for point in points:
        wanted = best(within(programme, "x", point.limit))
        assert point.solution.progress.score == pytest.approx(wanted, rel=2e-6)
        assert point.solution.progress.bound >= wanted * (1 - 1e-9)
        assert point.used is None or point.used <= point.limit * (1 + 1e-12)
    scores = [point.solution.progress.score for point in points]
    assert scores == sorted(scores)
    kept = list(undominated(points))
    assert len({point.solution.progress.score for point in kept}) == len(kept)


def test_a_shadow_price_is_the_slope_of_the_bound():
    template = dense(widths=WIDTHS, mids=WIDTHS[:8], kernels=(3,), depths=(1, 10))
    limit = 6e6
    programme = template.programme(params=limit, macs=3e9)

    def root(params):
        solution = branch(within(programme, "params", params), seconds=0.0)
        return solution.progress.bound, solution

    here, solution = root(limit)
    price = {shadow.name: shadow.price for shadow in shadows(programme, solution)}["params"]
    step = 0.05 * limit
    up, down = root(limit + step)[0], root(limit - step)[0]
    assert price > 0
    # The bound is concave in the limit, so its slope lies between the differences on both sides.
    slack = 2e-3 * here
    assert up <= here + price * step + slack
    assert down <= here - price * step + slack
    assert price == pytest.approx((up - down) / (2 * step), rel=0.15)


def test_the_price_of_the_effectiveness_is_the_slope_of_the_bound():
    template = dense(widths=WIDTHS, mids=WIDTHS[:8], kernels=(3,), depths=(1, 10))

    def root(rho):
        programme = template.programme(params=6e6, macs=3e9, effectiveness=rho)
        solution = branch(programme, seconds=0.0)
        prices = {shadow.name: shadow.price for shadow in shadows(programme, solution)}
        return solution.progress.bound, prices["effectiveness"]

    (low, _), (_, price), (high, _) = root(0.27), root(0.3), root(0.33)
    assert price == pytest.approx((high - low) / 0.06, rel=0.1)
    assert root(0.8)[1] == 0.0


def test_a_point_keeps_the_better_design_of_a_tighter_bound():
    programme = random_programme(1)
    limits = [programme.resources[0].limit * part for part in (1.0, 1.5, 2.0)]
    calls = []

    def once(bounded, **settings):
        calls.append(settings["seeds"])
        solution = branch(bounded, gap=settings["gap"])
        if len(calls) == 1:
            return solution
        progress = replace(solution.progress, score=-math.inf)
        return replace(solution, design=None, blend=None, progress=progress)

    points = front(programme, "x", limits, solver=once, gap=1e-6)
    first = points[0].solution
    assert [point.solution.design for point in points] == [first.design] * 3
    assert [point.used for point in points] == [points[0].used] * 3
    assert first.design in calls[1]


def test_it_is_told_in_units():
    assert str(Shadow(name="latency", unit="ms", price=12.5)) == (
        "one more ms of latency is worth 12.5 points"
    )
    assert str(Shadow(name="params", unit="", price=0.25)) == (
        "one more params is worth 0.25 points"
    )


def test_a_resource_that_is_not_bounded_is_refused():
    with pytest.raises(ValueError, match="x, y; got 'macs'"):
        front(random_programme(0), "macs", [1.0])
