"""Branch and bound against exhaustive enumeration, and its bounds against every design."""

import math
from dataclasses import replace
from itertools import combinations_with_replacement, product
from random import Random

import numpy as np
import pytest
from random_programmes import best, designs, random_programme

from nas.solver.box import whole
from nas.solver.branch import branch, union
from nas.solver.lagrange import Prices, Relaxation
from nas.solver.mix import mix
from nas.solver.programme import Figures, Sum


@pytest.mark.parametrize("seed", range(50))
def test_it_finds_what_enumeration_finds(seed):
    programme = random_programme(seed)
    wanted = best(programme)
    solution = branch(programme, gap=1e-9, seconds=60)
    assert solution.optimal
    assert solution.progress.score == pytest.approx(wanted, rel=1e-9)
    assert solution.progress.bound == pytest.approx(wanted, rel=1e-8)
    assert (solution.design is None) == (wanted == -math.inf)


@pytest.mark.parametrize("seed", [9, 98])
def test_it_loses_nothing_where_it_begins_with_fewer_states(seed, monkeypatch):
    monkeypatch.setattr("nas.solver.branch.FEW", 2)
    programme = random_programme(seed)
    wanted = best(programme)
    solution = branch(programme, gap=1e-9, seconds=60)
    assert solution.progress.score == pytest.approx(wanted, rel=1e-9)
    assert solution.progress.bound == pytest.approx(wanted, rel=1e-8)


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
            evenness=random.random(),
            spread=random.random() * 9,
            totals=(random.random() * 3, random.random() * 3),
        )
        bound = relaxation.bound(box, prices)
        assert bound.value >= highest - 1e-9
        if bound.design is not None:
            assert bound.way.ends.max() == pytest.approx(bound.value)


@pytest.mark.parametrize("seed", [3, 5, 7])
def test_boxes_part_the_designs(seed):
    programme, random = random_programme(seed), Random(seed)
    every = list(designs(programme))
    boxes = [whole(programme)]
    while len(boxes) < 12 and not all(box.single() for box in boxes):
        boxes.sort(key=lambda box: (not box.single(), random.random()))
        some = random.sample(every, min(len(every), 7))
        boxes += boxes.pop().cut(some, [1.0] * len(some))
    for design in every:
        assert sum(box.holds(design) for box in boxes) == 1


@pytest.mark.parametrize("seed", range(0, 30, 3))
def test_depths_of_0_are_left_out_by_the_bound_too(seed):
    programme, random = random_programme(seed), np.random.default_rng(seed)
    layers = [
        replace(layer, blocks=Sum(pair=random.integers(0, 3, layer.shape[:2]).astype(float)))
        for layer in programme.layers
    ]
    programme = replace(programme, layers=tuple(layers), _steps={})
    wanted = best(programme)
    solution = branch(programme, gap=1e-9, seconds=60)
    assert solution.optimal
    assert solution.progress.score == pytest.approx(wanted, rel=1e-9)


def mixtures(programme, design, layers):
    """Figures of every way to share out the further copies of a design."""
    again = [i for i in layers if programme.layers[i].again is not None and design[i].copies]
    offered = [
        combinations_with_replacement(
            [
                mode
                for mode in range(programme.layers[i].shape[2])
                if programme.layers[i].allowed.at(*design[i][:2], mode) == 0.0
            ],
            design[i].copies,
        )
        for i in again
    ]
    for choice in product(*map(list, offered)):
        score = entropy = log_width = convs = worst = 0.0
        used = np.zeros(len(programme.resources))
        for index, (layer, step) in enumerate(zip(programme.layers, design, strict=True)):
            place = step[:3]
            score += layer.allowed.at(*place)
            entropy += layer.entropy.at(*place)
            log_width += layer.log_width.at(*place)
            convs += layer.convs.at(*place)
            used += [cost.at(*place) for cost in layer.costs]
            modes = choice[again.index(index)] if index in again else [step.mode] * step.copies
            for mode in modes:
                entropy += layer.again.entropy[step.target, mode]
                log_width += layer.again.log_width[step.target, mode]
                convs += layer.again.convs[step.target, mode]
                used += layer.again.costs[:, step.target, mode]
            if layer.volume is not None:
                score += layer.volume[step.target] * entropy
                worst = max(worst, convs / math.exp(log_width / convs))
        score -= programme.unevenness(programme.depths(design))
        yield Figures(score=score, used=tuple(used), effectiveness=worst)


@pytest.mark.parametrize("seed", range(0, 32, 4))
def test_the_bound_holds_for_mixtures_and_the_best_is_found(seed):
    programme = random_programme(seed)
    layers = [i for i, layer in enumerate(programme.layers) if layer.again is not None]
    wanted = max(
        (
            figures.score
            for design in designs(programme)
            for figures in mixtures(programme, design, layers)
            if not programme.excess(figures)
        ),
        default=-math.inf,
    )
    solution = branch(programme, gap=1e-6, seconds=5, mixed=layers)
    assert solution.progress.bound >= wanted * (1 - 1e-9)
    assert solution.progress.score <= wanted * (1 + 1e-9)
    if wanted > -math.inf:
        assert solution.progress.score >= 0.9 * wanted


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_the_integer_programme_shares_copies_out_best(seed):
    programme, random = random_programme(seed), Random(seed)
    layers = [i for i, layer in enumerate(programme.layers) if layer.again is not None]
    for design in random.sample(list(designs(programme)), 12):
        every = [f.score for f in mixtures(programme, design, layers) if not programme.excess(f)]
        found = mix(programme, design, layers)
        if not any(design[i].copies for i in layers):
            assert found is None
        elif not every or max(every) == -math.inf:
            assert found is None or found.figures.score == -math.inf
        else:
            assert found is not None
            assert found.figures.score == pytest.approx(max(every), rel=1e-5)


@pytest.mark.parametrize("seed", range(0, 60, 6))
def test_several_are_solved_as_one(seed):
    programmes = [random_programme(s) for s in range(seed, seed + 3)]
    wanted = [best(programme) for programme in programmes]
    solutions = union(programmes, [()] * 3, gap=1e-9, seconds=60)
    found = [solution.progress.score for solution in solutions]
    assert max(found) == pytest.approx(max(wanted), rel=1e-9)
    assert max(s.progress.bound for s in solutions) == pytest.approx(max(wanted), rel=1e-8)
    for programme, solution, highest in zip(programmes, solutions, wanted, strict=True):
        progress = solution.progress
        slack = 1e-9 * abs(highest) if highest > -math.inf else 0.0
        assert progress.score - slack <= highest <= progress.bound + slack
        if solution.design is not None:
            figures = programme.figures(solution.design)
            assert not programme.excess(figures)
            assert figures.score == pytest.approx(progress.score)


def test_a_worse_programme_is_cut_only_as_far_as_the_best_asks():
    rich = next(p for p in map(random_programme, range(100)) if best(p) > -math.inf)
    poor = replace(rich, penalty=rich.penalty + 100.0)
    alone = branch(poor, gap=1e-9, seconds=60)
    first, second = union([rich, poor], [(), ()], gap=1e-9, seconds=60)
    assert first.progress.score == pytest.approx(best(rich), rel=1e-9)
    assert second.progress.boxes <= alone.progress.boxes
    assert second.progress.bound >= alone.progress.score - 1e-9 * abs(alone.progress.score)
