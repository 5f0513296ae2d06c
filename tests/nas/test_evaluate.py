"""Trees to trials: bounds, scores, judgements, and what goes wrong."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from small_space import config, grammar_of, parts_of
from strategies import drawn, seeds

from nas.evaluate import Bounds, PredictorFault
from searchspace.architecture import Architecture
from searchspace.text import from_text

PARTS = parts_of(config())
CANDIDATES = [drawn(grammar_of(), seed) for seed in range(12)]
BROKEN = Architecture(
    space="small", root=from_text("network:0[head:0@float[global_pool; depthwise(3)]]")
)


@pytest.fixture
def evaluator():
    return parts_of(config()).evaluator


def test_a_bound_is_exceeded_by_its_share_and_equality_keeps_it():
    bounds = Bounds(budget_ms=2.0, max_params=100, max_effectiveness=0.5)
    values = {"high_ms": 3.0, "params": 100.0, "effectiveness": 0.25, "macs": 1e18}
    assert bounds.violations(values) == {"high_ms": 0.5, "params": 0.0, "effectiveness": 0.0}
    assert Bounds().violations(values) == {}


def test_memory_and_weights_are_bounded_in_bytes():
    values = {"peak_bytes": 30.0, "weight_bytes": 5.0}
    found = Bounds(max_memory=20, max_weights=10).violations(values)
    assert found == {"peak_bytes": 0.5, "weight_bytes": 0.0}
    parts = parts_of(config(max_memory=1, max_weights=1))
    (trial,) = parts.evaluator.evaluate(0, CANDIDATES[:1])
    assert trial.reason.endswith("peak_bytes, weight_bytes")


@given(seeds)
@settings(max_examples=10)
def test_a_trial_states_the_traced_costs_and_their_price(seed):
    architecture = drawn(grammar_of(), seed)
    (trial,) = PARTS.evaluator.evaluate(7, [architecture])
    costs = PARTS.evaluator.costs(architecture)
    assert (trial.number, trial.architecture) == (7, architecture)
    for name in ("macs", "params", "peak_bytes", "weight_bytes"):
        assert trial.values[name] == getattr(costs, name)
    assert trial.values["low_ms"] <= trial.values["latency_ms"] <= trial.values["high_ms"]
    exceeded = {name for name, by in trial.violations.items() if by}
    assert (trial.status == "infeasible") == bool(exceeded)
    assert all(name in trial.reason for name in exceeded)


def test_the_upper_end_of_the_range_decides():
    (trial,) = PARTS.evaluator.evaluate(0, CANDIDATES[:1])
    low, high = trial.values["latency_ms"], trial.values["high_ms"]
    for budget, status in ((high, "feasible"), ((low + high) / 2, "infeasible")):
        parts = parts_of(config(budget_ms=budget, max_effectiveness=100.0))
        assert next(parts.evaluator.evaluate(0, CANDIDATES[:1])).status == status


def test_a_tree_that_does_not_fit_its_input_is_a_failed_trial_among_others(evaluator):
    trials = list(evaluator.evaluate(0, [CANDIDATES[0], BROKEN, CANDIDATES[1]]))
    assert [trial.status == "failed" for trial in trials] == [False, True, False]
    assert "head" in trials[1].reason
    assert trials[1].values == {}
    assert next(evaluator.evaluate(0, [BROKEN])).status == "failed"


def test_nothing_to_evaluate(evaluator):
    assert list(evaluator.evaluate(0, [])) == []
    evaluator.judge = lambda roots: iter(())
    assert list(evaluator.evaluate(0, [])) == []


def test_what_keeps_no_bound_is_not_judged_but_scored():
    parts = parts_of(config(max_params=1))
    asked = []
    parts.evaluator.judge = lambda roots: iter(asked.extend(roots) or ())
    trials = list(parts.evaluator.evaluate(0, CANDIDATES))
    assert asked == []
    assert all(trial.status == "infeasible" and "score" in trial.values for trial in trials)


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [("out of memory", "out of memory"), (float("nan"), "accuracy is nan"), (float("inf"), "inf")],
)
def test_a_judgement_that_is_no_accuracy_fails_its_candidate(evaluator, accuracy, said):
    evaluator.bounds = Bounds()
    evaluator.judge = lambda roots: iter([(1, accuracy), (0, 0.5)])
    first, second = evaluator.evaluate(0, CANDIDATES[:2])
    assert (first.architecture, first.status) == (CANDIDATES[1], "failed")
    assert said in first.reason
    assert "accuracy" not in first.values
    assert (second.architecture, second.values["accuracy"]) == (CANDIDATES[0], 0.5)


def test_a_predictor_that_cannot_learn_is_named(evaluator):
    class Stubborn:
        def fit(self, architectures, values):
            raise RuntimeError("singular matrix")

    (trial,) = evaluator.evaluate(0, CANDIDATES[:1])
    evaluator.quality = Stubborn()
    evaluator.learn([trial])  # nothing was judged: nothing is learnt
    evaluator.bounds, evaluator.judge = Bounds(), None
    judged = trial.values | {"accuracy": 0.5}
    with pytest.raises(PredictorFault, match="Stubborn failed: RuntimeError: singular matrix"):
        evaluator.learn([replace(trial, values=judged)])
