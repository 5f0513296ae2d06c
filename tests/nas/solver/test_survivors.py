"""Bounds on single choices, against every design that has them."""

from random import Random

import numpy as np
import pytest
from random_programmes import designs, random_programme

from nas.solver.box import whole
from nas.solver.lagrange import Prices, Relaxation
from nas.solver.survivors import survivors


def prices_of(relaxation, random):
    programme = relaxation.programme
    return Prices(
        np.array([random.random() * 20 for _ in range(2)]),
        np.array([random.random() * 3 for _ in relaxation.scales])
        * (programme.effectiveness is not None),
        np.array([1 + random.random() * 10 for _ in relaxation.scales]),
        evenness=random.random(),
        spread=random.random() * 9,
        totals=(random.random() * 3, random.random() * 3),
    )


@pytest.mark.parametrize("seed", range(30))
def test_no_design_exceeds_the_bound_of_its_choices(seed):
    programme, random = random_programme(seed), Random(seed)
    relaxation = Relaxation(programme)
    boxes = [whole(programme)]
    for _ in range(2):  # boxes of parts, too
        if not boxes[-1].single():
            boxes.append(random.choice(boxes[-1].cut([], [])))
    every = [
        (design, figures.score)
        for design in designs(programme)
        if not programme.excess(figures := programme.figures(design))
    ]
    for box in boxes:
        bound = relaxation.bound(box, prices_of(relaxation, random))
        if bound.way is None:
            continue
        for goal in (-np.inf, bound.value - 1.0):
            found = survivors(relaxation, box, bound.way, goal)
            assert found.bound() <= max(bound.value, goal) + 1e-9
            for design, score in every:
                if not box.holds(design):
                    continue
                for index, step in enumerate(design):
                    state = found.states[index][step.target - box.targets[index][0]]
                    mode = found.modes[index][step.mode - box.modes[index][0]]
                    assert score <= state + 1e-9
                    assert score <= mode + 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_a_shrunk_box_holds_every_better_design(seed):
    programme, random = random_programme(seed), Random(seed)
    relaxation, box = Relaxation(programme), whole(programme)
    bound = relaxation.bound(box, prices_of(relaxation, random))
    if bound.way is None:
        return
    scores = {
        design: figures.score
        for design in designs(programme)
        if not programme.excess(figures := programme.figures(design))
    }
    goal = float(np.median([*scores.values(), bound.value - 5.0]))
    found = survivors(relaxation, box, bound.way, goal)
    if found.bound() <= goal:
        assert max(scores.values(), default=goal) <= goal + 1e-9
        return
    kept, dropped = box.shrunk(found.states, found.modes, goal)
    assert dropped <= goal
    for design, score in scores.items():
        assert kept.holds(design) or score <= dropped + 1e-9
