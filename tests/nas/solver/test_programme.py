"""Programmes: sums in parts are those of whole tables."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from random_programmes import designs, random_programme

from nas.solver.box import whole
from nas.solver.branch import branch
from nas.solver.lagrange import Prices, Relaxation
from nas.solver.programme import Programme, Sum


def written_out(programme: Programme) -> Programme:
    """The same programme with every number in a table of its own."""
    layers = []
    for layer in programme.layers:

        def table(total: Sum, shape: tuple[int, int, int] = layer.shape) -> Sum:
            numbers = np.empty(shape)
            for place in np.ndindex(*shape):
                numbers[place] = total.at(*place)
            return Sum(whole=numbers)

        layers.append(
            replace(
                layer,
                entropy=table(layer.entropy),
                log_width=table(layer.log_width),
                convs=table(layer.convs),
                costs=tuple(map(table, layer.costs)),
                blocks=table(layer.blocks),
                allowed=table(layer.allowed),
            )
        )
    return replace(programme, layers=tuple(layers), _steps={})


def with_kinds() -> list[int]:
    """Seeds of programmes with several tables of some pair."""
    seeds = [
        seed
        for seed in range(60)
        if any(len(set(la.costs[0].kinds)) > 1 for la in random_programme(seed).layers)
    ]
    return seeds[:10]


def test_each_mode_has_the_pair_of_its_kind():
    pair = np.array([[[1.0, 2.0]], [[10.0, 20.0]]])
    total = Sum(source=np.array([[0.1, 0.2, 0.3]]), pair=pair, kinds=(0, 1, 1))
    found = [[total.at(0, b, m) for m in range(3)] for b in range(2)]
    assert np.array(found) == pytest.approx(np.array([[1.1, 10.2, 10.3], [2.1, 20.2, 20.3]]))


@pytest.mark.parametrize("seed", with_kinds())
def test_sums_by_kind_are_those_of_whole_tables(seed):
    programme = random_programme(seed)
    plain, random = written_out(programme), Random(seed)
    every = list(designs(programme))
    for design in random.sample(every, min(50, len(every))):
        first, second = programme.figures(design), plain.figures(design)
        assert first.score == pytest.approx(second.score)
        assert first.used == pytest.approx(second.used)
        assert programme.depths(design) == plain.depths(design)


@pytest.mark.parametrize("seed", with_kinds())
def test_they_are_bounded_and_solved_alike(seed):
    programme = random_programme(seed)
    plain, random = written_out(programme), Random(seed)
    first, second = Relaxation(programme), Relaxation(plain)
    for _ in range(5):
        prices = Prices(
            np.array([random.random() * 20 for _ in range(2)]),
            np.zeros(len(first.scales)),
            np.array([1.0 for _ in first.scales]),
        )
        bounds = [r.bound(whole(p), prices).value for r, p in ((first, programme), (second, plain))]
        assert bounds[0] == pytest.approx(bounds[1])
    found, wanted = (branch(p, gap=1e-9, seconds=60) for p in (programme, plain))
    assert found.progress.score == pytest.approx(wanted.progress.score, rel=1e-9)
