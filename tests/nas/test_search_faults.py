"""Runs that cannot begin or go on: what is told, and by whose name."""

import pytest
from small_space import begin, config, parts_of, perform

from hwprofile.estimate import Estimate
from nas.evaluate import PredictorFault
from nas.search import NoFeasibleError, StrategyFault, first_proposals, front_of


def test_a_budget_that_nothing_meets_names_the_fastest_found():
    with pytest.raises(NoFeasibleError, match=r"found meets 1e-06 ms on a100 at batch 1") as caught:
        first_proposals(parts_of(config(budget_ms=1e-6)))
    fastest = float(str(caught.value).split("takes up to ")[1].split(" ms")[0])
    assert first_proposals(parts_of(config(budget_ms=fastest * 1.01)))


def test_the_first_proposal_keeps_the_budget():
    for budget in (0.08, 0.1, None):
        parts = parts_of(config(budget_ms=budget))
        (first,) = first_proposals(parts)
        trial = parts.evaluator.check(0, first)
        assert budget is None or trial.values["high_ms"] <= budget


def test_where_no_candidate_keeps_the_bounds_the_nearest_is_told(tmp_path):
    configuration = config(max_params=10, evaluations=20)
    parts = parts_of(configuration)
    with begin(tmp_path / "run", configuration) as record:
        trials = perform(parts, record)
    with pytest.raises(NoFeasibleError, match=r"none of 20 candidates .* exceeds params by"):
        front_of(parts, trials)
    with pytest.raises(NoFeasibleError, match="none was proposed"):
        front_of(parts, [])


class Foreign:
    """A predictor that keeps no promise."""

    def __init__(self, predict):
        self.predict = predict

    def fit(self, architectures, values):
        pass


def _raises(architectures):
    raise KeyError("no such layer")


def _exact(value):
    return Estimate(value=value, low=value, high=value)


@pytest.mark.parametrize(
    ("predict", "said"),
    [
        (_raises, "the predictor Foreign failed: KeyError: 'no such layer'"),
        (lambda found: [], "one estimate for each of 60 architectures; it gave 0"),
        (lambda found: [_exact(1.0)] * 61, "one estimate for each of 60 architectures; it gave 61"),
        (lambda found: None, "the predictor Foreign failed: TypeError"),
        (lambda found: [1.0 for _ in found], "the predictor Foreign failed: AttributeError"),
        (lambda found: [_exact(float("nan")) for _ in found], "failed: ValueError: an estimate"),
    ],
    ids=["raises", "none", "too many", "no list", "bare numbers", "nan"],
)
def test_a_foreign_predictor_that_keeps_no_promise_ends_the_run_by_name(tmp_path, predict, said):
    parts = parts_of(config(strategy="random"))
    parts.evaluator.quality = Foreign(predict)
    with begin(tmp_path / "run", config()) as record:
        with pytest.raises(PredictorFault, match=said):
            perform(parts, record)
        assert record.trials() == []


def test_an_infinite_prediction_fails_its_candidate_alone(tmp_path):
    def predict(architectures):
        values = [float("inf") if int(a.key, 16) % 3 == 0 else 1.0 for a in architectures]
        return [_exact(value) for value in values]

    parts = parts_of(config())
    parts.evaluator.quality = Foreign(predict)
    with begin(tmp_path / "run", config()) as record:
        trials = perform(parts, record)
        assert sorted(record.trials(), key=lambda trial: trial.number) == trials
    for trial in trials:
        infinite = int(trial.architecture.key, 16) % 3 == 0
        assert (trial.status == "failed") == infinite
        assert ("score" in trial.values) != infinite
    assert any("quality is inf" in trial.reason for trial in trials)


class Raising:
    """A foreign strategy that raises when it is asked."""

    def __init__(self, problem):
        self.problem = problem

    def ask(self, n):
        raise KeyError("no idea")

    def tell(self, trials):
        raise AssertionError("never told")


def test_a_strategy_that_raises_is_told_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.assemble.find", lambda kind, name, shipped: Raising)
    parts = parts_of(config())
    with (
        begin(tmp_path / "run", parts.config) as record,
        pytest.raises(StrategyFault, match="'evolution' failed: KeyError: 'no idea'"),
    ):
        perform(parts, record)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("net -> strided_conv(8, 2) global_pool", "promises classes"),
        ("net -> global_pool classifier(4)", "promises classes"),
    ],
)
def test_a_space_that_cannot_be_built_is_told_as_such(rule, said):
    text = f"space x : image[3, 32, 32] -> classes[10]\n{rule}\n"
    with pytest.raises(NoFeasibleError, match=said) as caught:
        first_proposals(parts_of(config(space_text=text)))
    assert "inf" not in str(caught.value)
