"""Bounds on the largest block: programmes against enumeration, designs against their traces."""

import math
from dataclasses import replace

import numpy as np
import pytest
from random_programmes import best, designs, random_programme
from solved_space import task

from nas.solver.box import whole
from nas.solver.branch import branch
from nas.solver.ceiling import ceiled
from nas.solver.conflict import conflict
from nas.solver.design import certify
from nas.solver.found import Measure
from nas.solver.front import shadows
from nas.solver.lagrange import Relaxation
from nas.solver.milp import milp
from nas.solver.programme import Ceiling, Peaks
from nas.solver.solution import NoDesignError
from nas.usage import UsageError


def with_ceiling(seed, limit):
    """A random programme under a random ceiling, and without it."""
    programme, rng = random_programme(seed), np.random.default_rng(seed)
    peaks = tuple(
        Peaks(first=rng.uniform(1, 9, la.shape).round(1), again=rng.uniform(1, 9, la.shape[1:]))
        for la in programme.layers
    )
    ceiling = Ceiling(name="peak", unit="", limit=limit, peaks=peaks, layers=programme.layers)
    return ceiled(replace(programme, ceiling=ceiling)), programme


def peak(programme, design):
    found = 0.0
    for peaks, step in zip(programme.ceiling.peaks, design, strict=True):
        found = max(found, peaks.first[step.source, step.target, step.mode])
        if step.copies:
            found = max(found, peaks.again[step.target, step.mode])
    return found


def kept(under, free):
    """Designs that keep all bounds, and score."""
    for design in designs(free):
        figures = free.figures(design)
        if math.isfinite(figures.score) and not free.excess(figures):
            yield figures.score, peak(under, design), design


@pytest.mark.parametrize("solve", [branch, milp])
@pytest.mark.parametrize("seed", range(12))
def test_the_best_design_is_the_best_of_those_whose_largest_block_keeps_it(seed, solve):
    under, free = with_ceiling(seed, 6.0)
    wanted = max((s for s, top, _ in kept(under, free) if top <= 6.0), default=-math.inf)
    solution = solve(under, gap=1e-9, seconds=30)
    assert solution.progress.score == pytest.approx(wanted, rel=1e-6)
    assert solution.progress.bound == pytest.approx(wanted, rel=1e-5)
    if solution.design is not None:
        assert peak(under, solution.design) <= 6.0


@pytest.mark.parametrize("seed", range(8))
def test_what_more_of_it_is_worth_is_never_told_too_small(seed):
    under, _ = with_ceiling(seed, 6.0)
    solution = branch(under, gap=1e-9, seconds=30)
    if solution.prices is None or solution.design is None:
        return
    price = {s.name: s.price for s in shadows(under, solution)}["peak"]
    more = ceiled(replace(under, layers=under.ceiling.layers), 7.5)
    now = Relaxation(under).bound(whole(under), solution.prices).value
    assert best(more) <= now + 1.5 * price + 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_a_conflict_names_it_and_the_least_that_some_design_needs(seed):
    under, free = with_ceiling(seed, 2.0)
    found = conflict(under)
    everything = list(kept(under, free))
    if any(top <= 2.0 for _, top, _ in everything):
        assert found is None
        return
    assert found is not None
    assert found.proven
    allowed = [
        (peak(under, d), free.excess(free.figures(d)))
        for d in designs(free)
        if math.isfinite(free.figures(d).score)
    ]
    names = {needed.name for needed in found.bounds}
    for needed in found.bounds:
        if needed.name != "peak":
            continue
        others = names - {"peak"}
        least = min((top for top, over in allowed if not others & set(over)), default=math.inf)
        assert needed.least == pytest.approx(least)
        assert "raise" in str(found)
        assert "peak" in str(found)


@pytest.fixture(scope="module")
def free():
    return certify(task())


def first(proof, given):
    return Measure(given)(proof.architectures(given.grammar)[0])


@pytest.mark.parametrize(
    ("option", "name"), [("max_memory", "peak_bytes"), ("max_weights", "weight_bytes")]
)
@pytest.mark.parametrize("budget_ms", [1.0, None])
def test_a_bound_just_below_what_the_best_needs_is_kept_by_another(option, name, budget_ms, free):
    limit = getattr(first(free, task()), name) - 1
    given = task(**{option: limit}, budget_ms=budget_ms)
    proof = certify(given)
    found = first(proof, given)
    assert getattr(found, name) <= limit
    assert proof.gap < 0.03
    if budget_ms is not None:
        assert proof.designs[0] != free.designs[0]
        assert proof.score <= free.bound
    use = next(use for use in proof.uses if use.name == name)
    assert (use.limit, use.used) == (limit, getattr(found, name))
    assert use.unit == "bytes"
    assert use.price >= 0


@pytest.mark.parametrize(
    ("option", "name"), [("max_memory", "peak_bytes"), ("max_weights", "weight_bytes")]
)
def test_a_bound_that_nothing_keeps_is_named(option, name):
    with pytest.raises(NoDesignError, match=f"none can be kept; raise {name} to .* bytes"):
        certify(task(**{option: 1000}))


def test_memory_alone_can_be_bounded():
    given = task(max_memory=60_000, max_params=None, budget_ms=None)
    assert first(certify(given), given).peak_bytes <= 60_000


def test_a_bound_on_weights_is_kept_by_narrower_formats():
    wide = certify(task(max_weights=20_000))
    given = task(max_weights=20_000, quantize=True)
    narrow = certify(given)
    measured = first(narrow, given)
    assert measured.weight_bytes <= 20_000
    assert measured.score == pytest.approx(narrow.score)
    assert "@w8a8" in narrow.designs[0]
    assert measured.params > first(wide, task()).params


def test_a_front_is_over_weights_but_not_over_what_no_price_moves():
    proof = certify(task(max_weights=100_000, front=3, front_over="weight_bytes"))
    points = proof.front.points
    assert proof.front.unit == "bytes"
    assert all(point.used <= point.limit for point in points if point.used is not None)
    with pytest.raises(UsageError, match="--max-weights"):
        task(max_memory=100_000, max_params=None, budget_ms=None, front=3)
