"""The Pareto front against its definition, in quadratic time."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from nas.objectives import LATENCY, SCORE
from nas.pareto import pareto_front
from nas.trial import Trial
from searchspace.architecture import Architecture
from searchspace.tree import Node

OBJECTIVES = (SCORE, LATENCY)
_statuses = st.sampled_from(("feasible", "feasible", "feasible", "infeasible", "failed"))
_coordinates = st.integers(0, 5)


def trial(number: int, score: int, latency: int, status: str = "feasible") -> Trial:
    return Trial(
        number=number,
        architecture=Architecture(space="s", root=Node("n", 0, (number,))),
        status=status,
        values={"score": float(score), "latency_ms": float(latency)},
    )


@st.composite
def trials(draw):
    rows = draw(st.lists(st.tuples(_coordinates, _coordinates, _statuses), max_size=25))
    return [trial(i, *row) for i, row in enumerate(rows)]


def point(trial: Trial) -> tuple[float, float]:
    return trial.values["score"], trial.values["latency_ms"]


def dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] >= b[0] and a[1] <= b[1] and a != b


@given(trials())
def test_the_front_is_what_nothing_dominates(found):
    points = {point(t) for t in found if t.status == "feasible"}
    wanted = {p for p in points if not any(dominates(q, p) for q in points)}
    front = pareto_front(found, OBJECTIVES)
    assert [point(t) for t in front] == sorted(wanted, reverse=True)
    for kept in front:
        equals = [t for t in found if t.status == "feasible" and point(t) == point(kept)]
        assert kept.architecture.key == min(t.architecture.key for t in equals)


@given(trials(), st.integers(0, 99))
def test_the_order_of_the_trials_does_not_count(found, seed):
    shuffled = found[:]
    Random(seed).shuffle(shuffled)
    assert pareto_front(shuffled, OBJECTIVES) == pareto_front(found, OBJECTIVES)


@given(trials())
def test_the_front_of_the_front_is_itself(found):
    front = pareto_front(found, OBJECTIVES)
    assert pareto_front(front, OBJECTIVES) == front


def test_a_staircase_is_kept_whole_and_what_lies_under_it_goes():
    stairs = [trial(i, i, i * i) for i in range(20)]
    under = [trial(100 + i, i, i * i + 1) for i in range(20)]
    assert pareto_front(under + stairs, OBJECTIVES) == tuple(stairs[::-1])


def test_three_objectives_and_values_that_were_not_found():
    from nas.objectives import Objective

    macs = Objective(name="macs", unit="", direction="minimize")
    rows = [(3, 3, 1), (3, 3, 2), (2, 2, 2), (3, 4, 0)]
    found = [
        Trial(
            number=i,
            architecture=Architecture(space="s", root=Node("n", 0, (i,))),
            status="feasible",
            values={"score": score, "latency_ms": ms, "macs": macs_},
        )
        for i, (score, ms, macs_) in enumerate(rows)
    ]
    lacking = trial(9, 3, 3)
    front = pareto_front([*found, lacking], (*OBJECTIVES, macs))
    assert {t.number for t in front} == {0, 2, 3}


def test_no_trials():
    assert pareto_front([], OBJECTIVES) == ()
