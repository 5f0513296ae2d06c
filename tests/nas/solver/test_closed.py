"""Closed forms: polynomials and logarithms are found from samples, and come apart into tables."""

from random import Random

import numpy as np
import pytest

from nas.solver.closed import LOGS, FamilyError, closed


def points_of(seed, count=40):
    random = Random(seed)
    return np.array([[random.randrange(8, 513, 8) for _ in range(3)] for _ in range(count)], float)


def entropy(points):
    """A convolution from what comes in, one from within, and a constant."""
    return 0.5 * np.log(9 * points[:, 0]) + 0.5 * np.log(points[:, 2]) + 1.25


def params(points):
    """An expansion with its normalisation, a depthwise kernel, a projection, a wide shortcut."""
    ins, outs, inner = points.T
    return inner * (ins + 2) + 25 * inner + outs * (inner + 2) + ins * outs + 10


def macs(points):
    ins, outs, inner = points.T
    return 196.0 * (ins * inner + inner * outs) + 3 * ins * ins + 7 * outs * outs


def values_of(points):
    depth = np.full(len(points), 3.0)
    return np.stack(
        [entropy(points), 2 * entropy(points), depth, params(points), macs(points)], axis=1
    )


@pytest.mark.parametrize("seed", range(5))
def test_what_was_not_sampled_follows(seed):
    form = closed(points_of(seed), values_of(points_of(seed)))
    others = points_of(seed + 100, 200)
    assert form.at(others) == pytest.approx(values_of(others), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_tables_add_up(seed):
    form = closed(points_of(seed), values_of(points_of(seed)))
    ins, outs, inner = np.array([8.0, 24, 40, 512]), np.array([16.0, 24]), np.array([4.0, 80, 96])
    source, target, pair = form.source(ins, inner), form.target(outs, inner), form.pair(ins, outs)
    assert [table.shape[1:] for table in (source, target, pair)] == [(4, 3), (2, 3), (4, 2)]
    for a, width in enumerate(ins):
        for b, out in enumerate(outs):
            for m, within in enumerate(inner):
                point = np.array([[width, out, within]])
                total = source[:, a, m] + target[:, b, m] + pair[:, a, b]
                assert total == pytest.approx(values_of(point)[0], rel=1e-9)


def test_one_width_alone_may_vary():
    points = np.stack([np.ones(12), np.ones(12), np.arange(1.0, 13.0)], axis=1)
    form = closed(points, values_of(points))
    others = np.array([[1.0, 1.0, 100.0]])
    assert form.at(others) == pytest.approx(values_of(others), rel=1e-9)


def test_widths_that_are_always_equal_are_one():
    same = np.arange(8.0, 160.0, 8.0)
    points = np.stack([same, same, np.full(len(same), 16.0)], axis=1)
    form = closed(points, values_of(points))
    others = np.array([[400.0, 400.0, 16.0]])
    assert form.at(others) == pytest.approx(values_of(others), rel=1e-9)


@pytest.mark.parametrize(
    "cost",
    [
        lambda p: p.prod(axis=1),
        lambda p: p[:, 0] ** 3,
        lambda p: p[:, 0] * (p[:, 0] // 3),
        lambda p: p[:, 0] / p[:, 1],
        lambda p: np.maximum(p[:, 0], p[:, 1]),
    ],
    ids=["three widths", "cube", "floor", "quotient", "maximum"],
)
def test_other_costs_have_no_form(cost):
    points = points_of(1)
    values = values_of(points)
    values[:, LOGS + 1] = cost(points)
    with pytest.raises(FamilyError, match="no polynomials of degree two"):
        closed(points, values)


def test_an_entropy_that_is_no_sum_of_logarithms_has_no_form():
    points = points_of(1)
    values = values_of(points)
    values[:, 0] = np.log(points[:, 0] + points[:, 1])
    with pytest.raises(FamilyError):
        closed(points, values)
