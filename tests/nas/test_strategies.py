"""The shipped strategies: the contract, and whether evolution is worth more than chance."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.objectives import LATENCY, SCORE
from nas.plugins import find
from nas.strategies import STRATEGIES
from nas.strategies.base import Problem
from nas.strategies.evolution import EvolutionStrategy
from nas.strategies.random import RandomStrategy
from nas.strategies.tpe import TPEStrategy
from nas.testing.space import OBJECTIVES, many, outcomes, price, worth
from nas.testing.strategies import StrategyContract, proposals
from nas.trial import Trial
from searchspace.architecture import Architecture
from searchspace.read import read_grammar
from searchspace.sample import sample


class TestEvolution(StrategyContract):
    def make(self, problem):
        return EvolutionStrategy(problem)


class TestRandom(StrategyContract):
    def make(self, problem):
        return RandomStrategy(problem)


class TestTPE(StrategyContract):
    def make(self, problem):
        return TPEStrategy(problem)


def problem(**changes):
    given = {"grammar": many(), "objectives": OBJECTIVES, "seed": 0, "evaluations": 80}
    return Problem(**{**given, **changes})


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_table_leads_to_strategies_that_propose_the_seeds_first(name):
    random = Random(7)
    seeds = tuple(sample(many(), random) for _ in range(3))
    strategy = find("strategy", name, STRATEGIES)(problem(seeds=seeds))
    found = [a.key for part in proposals(strategy, [5, 5, 5]) for a in part]
    assert found[:3] == [a.key for a in seeds]
    assert len(set(found)) == len(found)
    assert len(found) > 10 or name == "solve", "which has nothing else to propose"


def test_random_draws_all_of_a_small_space_and_the_seeds_count_as_drawn():
    text = (
        "space s : image[3, 8, 8] -> classes[2]\ndomain w = 1 .. 12\n"
        "net -> strided_conv(w, 1) global_pool classifier(classes) with w : width\n"
    ).replace("domain w ", "domain width ")
    grammar = read_grammar(text)
    seeds = (sample(grammar, Random(0)),)
    strategy = RandomStrategy(problem(grammar=grammar, seeds=seeds))
    found = [a.root.values[0] for part in proposals(strategy, [5] * 9) for a in part]
    assert sorted(found) == list(range(1, 13))
    assert found[0] == seeds[0].root.values[0]


def hypervolume(points, reference):
    """Area that points dominate below a reference, both coordinates minimised."""
    area, height = 0.0, reference[1]
    for x, y in sorted(points):
        if x < reference[0] and y < height:
            area += (reference[0] - x) * (height - y)
            height = y
    return area


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=12))
def test_the_hypervolume_of_integer_points_counts_unit_cells(points):
    cells = sum(any(x <= i and y <= j for x, y in points) for i in range(8) for j in range(8))
    assert hypervolume(points, (8, 8)) == cells


def covered(strategy, evaluations):
    """Hypervolume of large kernels against blocks and widths, an easy problem without noise."""
    points, number = [], 0
    while number < evaluations:
        asked = strategy.ask(min(40, evaluations - number))
        trials = [
            Trial(
                number=number + i,
                architecture=a,
                status="feasible",
                values={"score": worth(a.root), "latency_ms": price(a.root)},
            )
            for i, a in enumerate(asked)
        ]
        strategy.tell(trials)
        points += [trial.losses((SCORE, LATENCY)) for trial in trials]
        number += len(trials)
    return hypervolume(points, (0.0, 13.0))


def test_evolution_covers_more_than_chance_at_equal_evaluations():
    evaluations = 400
    chance = max(
        covered(RandomStrategy(problem(seed=seed, evaluations=evaluations)), evaluations)
        for seed in range(3)
    )
    assert covered(EvolutionStrategy(problem(evaluations=evaluations)), evaluations) > chance


def test_evolution_takes_a_generation_in_parts_of_any_size():
    whole = EvolutionStrategy(problem())
    first = [a.key for a in whole.ask(100)]
    parts = EvolutionStrategy(problem())
    found = []
    while len(found) < len(first):
        asked = parts.ask(3)
        assert 1 <= len(asked) <= 3
        found += [a.key for a in asked]
        parts.tell(outcomes(asked))
    assert found == first


@pytest.mark.parametrize("made", [EvolutionStrategy, TPEStrategy])
def test_constraints_go_before_objectives(made):
    """All objectives reward a wide stem, but only narrow ones keep the bound."""
    strategy = made(problem(evaluations=160))
    for size in (80, 80):
        asked, left = [], size
        while left:
            part = strategy.ask(left)
            strategy.tell([_narrow(i, a) for i, a in enumerate(part)])
            asked, left = [*asked, *part], left - len(part)
        share = sum(a.root.values[0] <= 24 for a in asked) / size
    drawn = RandomStrategy(problem()).ask(200)
    assert share > 0.1 + sum(a.root.values[0] <= 24 for a in drawn) / 200


def _narrow(number: int, architecture: Architecture) -> Trial:
    width = architecture.root.values[0]
    exceeded = max(0.0, width / 24 - 1)
    return Trial(
        number=number,
        architecture=architecture,
        status="infeasible" if exceeded else "feasible",
        values={"score": float(width), "latency_ms": -float(width)},
        violations={"params": exceeded},
    )
