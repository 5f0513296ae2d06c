"""The loop of a run: stopped anywhere and resumed, it ends where a run never stopped would."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from random import Random

import pytest
from small_space import TEXT, begin, config, go_on, parts_of, perform

from hwprofile.estimate import Estimate
from nas.assemble import Parts
from nas.evaluate import PredictorFault
from nas.record import JOURNAL
from nas.search import NoFeasibleError, StrategyFault, best_of, first_proposals, front_of, run
from searchspace.sample import sample

RUN = {"evaluations": 130}
"""Generations of 13, and a last one that ends short."""


class Stop(Exception):
    """What stops a run between two generations."""


class Counting:
    """A quality predictor that remembers what it was asked."""

    def __init__(self, inner):
        self.inner, self.asked = inner, []

    def fit(self, architectures, values):
        self.inner.fit(architectures, values)

    def predict(self, architectures):
        self.asked += [a.key for a in architectures]
        return self.inner.predict(architectures)


def counted(configuration):
    parts = parts_of(configuration)
    parts.evaluator.quality = Counting(parts.evaluator.quality)
    return parts, parts.evaluator.quality.asked


def finished(folder, **changes):
    """A run never stopped: its trials, its front, and its journal."""
    configuration = config(**{**RUN, **changes})
    parts, asked = counted(configuration)
    with begin(folder, configuration) as record:
        trials = perform(parts, record)
    assert len(asked) == len(set(asked))
    return trials, front_of(parts, trials), (folder / JOURNAL).read_bytes()


def resumed(folder, **changes):
    configuration = config(**{**RUN, **changes})
    parts, asked = counted(configuration)
    with go_on(folder, configuration) as record:
        before = {trial.architecture.key for trial in record.trials()}
        trials = perform(parts, record)
        recorded = [trial.architecture.key for trial in record.trials()]
    assert not before & set(asked), "what was recorded was evaluated again"
    assert len(asked) == len(set(asked))
    assert len(recorded) == len(set(recorded)), "a candidate was recorded twice"
    return trials, front_of(parts, trials)


def test_a_run_evaluates_what_was_asked_for_and_keeps_its_bounds(tmp_path):
    trials, front, _ = finished(tmp_path / "run")
    assert [trial.number for trial in trials] == list(range(130))
    assert {trial.status for trial in trials} == {"feasible", "infeasible"}
    for trial in trials:
        kept = trial.values["high_ms"] <= 0.12 and trial.values["effectiveness"] <= 0.5
        assert kept == (trial.status == "feasible")
    assert len(front) > 3
    scores = [trial.values["score"] for trial in front]
    assert scores == sorted(scores, reverse=True)
    objectives = parts_of(config()).objectives
    assert best_of(trials, objectives) == front[0]


@pytest.mark.parametrize("strategy", ["evolution", "random", "tpe"])
def test_stopped_between_generations_it_ends_the_same(tmp_path, strategy):
    changes = {"strategy": strategy, "evaluations": 60}
    wanted, front, _ = finished(tmp_path / "whole", **changes)
    configuration = config(**changes)

    def stop(progress):
        raise Stop

    with begin(tmp_path / "run", configuration) as record, pytest.raises(Stop):
        perform(parts_of(configuration), record, stop)
    trials, again = resumed(tmp_path / "run", **changes)
    assert (trials, again) == (wanted, front)


def test_cut_at_any_byte_it_ends_the_same(tmp_path):
    wanted, front, journal = finished(tmp_path / "whole")
    random = Random(11)
    cuts = [0, len(journal), *(random.randrange(len(journal)) for _ in range(6))]
    for number, cut in enumerate(cuts):
        folder = tmp_path / f"run{number}"
        with begin(folder, config(**RUN)):
            pass
        (folder / JOURNAL).write_bytes(journal[:cut])
        assert resumed(folder) == (wanted, front), f"cut at byte {cut} of {len(journal)}"


def test_progress_tells_what_was_read_and_what_is_best(tmp_path):
    folder, told = tmp_path / "run", []
    finished(folder)
    with go_on(folder, config(**RUN)) as record:
        perform(parts_of(config(**RUN)), record, told.append)
    assert [progress.done for progress in told][-1] == told[-1].resumed == 130
    assert told[-1].best.status == "feasible"


def test_a_longer_run_begins_as_a_shorter_one_of_the_same_size_of_population(tmp_path):
    short, _, _ = finished(tmp_path / "short", strategy="random", evaluations=50)
    long, _, _ = finished(tmp_path / "long", strategy="random", evaluations=120)
    assert long[:50] == short


# --- Judged on data ------------------------------------------------------------------------------


class Judge:
    """Judges in an order of its own; some fail; remembers what the record held meanwhile."""

    def __init__(self, folder, *, stop_after=None):
        self.folder, self.stop_after = folder, stop_after
        self.judged, self.on_disk = [], []

    def __call__(self, roots):
        for position in sorted(range(len(roots)), key=lambda i: (i * 7) % (len(roots) or 1)):
            self.on_disk.append((self.folder / JOURNAL).read_bytes().count(b'"status"'))
            if self.stop_after is not None and len(self.judged) >= self.stop_after:
                raise Stop
            key = hash_of(roots[position])
            self.judged.append(key)
            outcome = "cannot be built" if key % 9 == 0 else (key % 1000) / 1000
            yield position, outcome


def hash_of(root):
    from searchspace.architecture import Architecture

    return int(Architecture(space="s", root=root).key, 16)


DATA = {"data": "digits", "evaluations": 60}


def judged_run(folder, judge, opened):
    parts = parts_of(config(**DATA))
    parts.evaluator.judge = judge
    with opened(folder, config(**DATA)) as record:
        return parts, perform(parts, record)


def test_each_judged_trial_is_on_disk_before_the_next_is_awaited(tmp_path):
    judge = Judge(tmp_path / "run")
    parts, trials = judged_run(tmp_path / "run", judge, begin)
    steps = [b - a for a, b in pairwise(judge.on_disk)]
    assert min(steps) >= 1
    assert {t.status for t in trials} == {"feasible", "infeasible", "failed"}
    for trial in trials:
        assert ("accuracy" in trial.values) == (trial.status == "feasible")
    accuracies = [t.values["accuracy"] for t in front_of(parts, trials)]
    assert accuracies == sorted(accuracies, reverse=True)
    assert max(t.values.get("accuracy", 0) for t in trials) == accuracies[0]


@pytest.mark.parametrize("stop_after", [1, 5, 20])
def test_a_run_with_data_stopped_while_judging_judges_nothing_twice(tmp_path, stop_after):
    whole = Judge(tmp_path / "whole")
    parts, wanted = judged_run(tmp_path / "whole", whole, begin)
    first = Judge(tmp_path / "run", stop_after=stop_after)
    with pytest.raises(Stop):
        judged_run(tmp_path / "run", first, begin)
    second = Judge(tmp_path / "run")
    _, trials = judged_run(tmp_path / "run", second, go_on)
    assert trials == wanted
    assert front_of(parts, trials) == front_of(parts, wanted)
    assert len(first.judged) == stop_after
    assert sorted(first.judged + second.judged) == sorted(whole.judged)


def test_the_predictor_hears_all_that_was_judged_and_nothing_else(tmp_path):
    heard = []

    class Listening(Counting):
        def fit(self, architectures, values):
            heard.append(dict(zip([a.key for a in architectures], values, strict=True)))

    parts = parts_of(config(**{**DATA, "evaluations": 120}))
    parts.evaluator.quality = Listening(parts.evaluator.quality)
    parts.evaluator.judge = Judge(tmp_path / "run")
    with begin(tmp_path / "run", config(**DATA)) as record:
        trials = perform(parts, record)
    assert heard[-1] == {
        t.architecture.key: t.values["accuracy"] for t in trials if "accuracy" in t.values
    }
    assert len(heard) > 1
    assert all(a.items() <= b.items() for a, b in pairwise(heard))


# --- What cannot be ------------------------------------------------------------------------------


def test_a_budget_that_nothing_meets_names_the_fastest_found():
    with pytest.raises(NoFeasibleError, match=r"found meets 1e-06 ms on a100 at batch 1") as caught:
        first_proposals(parts_of(config(budget_ms=1e-6)))
    fastest = float(str(caught.value).split("takes up to ")[1].split(" ms")[0])
    assert first_proposals(parts_of(config(budget_ms=fastest * 1.01)))


def test_the_first_proposal_keeps_the_budget():
    for budget in (0.06, 0.1, None):
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


# --- A real kill ---------------------------------------------------------------------------------


_NAS = [sys.executable, "-c", "import sys; from nas.cli import main; sys.exit(main())"]


def test_killed_twice_and_resumed_the_front_is_that_of_a_run_never_killed(tmp_path, capsys):
    from nas.cli import main

    (tmp_path / "small.grammar").write_text(TEXT)
    search = ["search", "--space", str(tmp_path / "small.grammar"), "--target", "a100"]
    search += ["--budget", "120us", "--evaluations", "700", "--seed", "5", "--json"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    _kill([*search, "--out", str(killed)], killed, recorded=20)
    _kill(["resume", str(killed)], killed, recorded=300)
    assert not (killed / "result.json").exists()

    assert main(["resume", str(killed), "--json"]) == 0
    resumed = json.loads(capsys.readouterr().out)
    assert main([*search, "--out", str(whole)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert resumed["front"] == found["front"]
    assert resumed["best"] == found["best"]
    assert _keys(killed) == _keys(whole)


def _kill(command, folder, recorded):
    """Start a command and kill it as soon as so many trials are on disk."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [*_NAS, *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(process, folder / JOURNAL, recorded)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def _wait_for(process, path, recorded):
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b'"status"') >= recorded:
            return
        time.sleep(0.01)
    raise AssertionError("the run ended before it could be killed, or never began")


def _keys(folder):
    lines = (folder / JOURNAL).read_text().splitlines()
    found = [json.loads(line).get("user_attrs", {}).get("key") for line in lines]
    keys = [key for key in found if key]
    assert len(keys) == len(set(keys)) == 700
    return set(keys)


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


TWINS = """\
space twins : image[3, 8, 8] -> classes[2]
domain width = 8 .. 64 step 8
net -> strided_conv(width, 1) rest global_pool classifier(classes)
rest -> identity | residual(zero) | eca | identity eca
"""


class Everything(Parts):
    """Parts whose strategy proposes every tree of the space, however many are one network."""

    def strategy(self, seeds):
        trees = {a.key: a for a in (sample(self.grammar, Random(n)) for n in range(400))}
        assert len(trees) == 32
        return Listed(sorted(trees.values(), key=lambda a: a.key))


class Listed:
    def __init__(self, architectures):
        self.architectures, self.told = architectures, []

    def ask(self, n):
        n = min(n, 7)
        asked, self.architectures = self.architectures[:n], self.architectures[n:]
        return asked

    def tell(self, trials):
        self.told += trials


@pytest.mark.parametrize("stop_after", [None, 1, 3])
def test_of_two_trees_of_one_network_one_is_evaluated(tmp_path, stop_after):
    settings = {"space": "twins.grammar", "space_text": TWINS, "budget_ms": None}
    configuration = config(**settings, evaluations=60)

    def stop(progress):
        if stop_after is not None and progress.done >= 7 * stop_after:
            raise Stop

    evaluated = []

    def everything():
        parts, asked = counted(configuration)
        evaluated.append(asked)
        return Everything(**vars(parts))

    with begin(tmp_path, configuration) as record:
        if stop_after is not None:
            with pytest.raises(Stop):
                run(everything(), record, (), stop)
    with go_on(tmp_path, configuration) as record:
        parts = everything()
        trials = run(parts, record, ())
        assert sorted(record.trials(), key=lambda trial: trial.number) == trials
    asked = [key for keys in evaluated for key in keys]
    assert len(asked) == len(set(asked)) == 16
    assert [trial.number for trial in trials] == list(range(32))
    first = {}
    for trial in trials:
        earlier = first.setdefault(parts.identity(trial.architecture), trial)
        assert trial.values == earlier.values
        if earlier is not trial:
            assert trial.reason == f"computes the same as {earlier.architecture.key}"


@pytest.mark.parametrize("strategy", ["evolution", "random", "tpe"])
def test_strategies_propose_a_network_once(tmp_path, strategy):
    settings = {"space": "twins.grammar", "space_text": TWINS, "budget_ms": None}
    configuration = config(**settings, evaluations=60, strategy=strategy)
    parts, asked = counted(configuration)
    with begin(tmp_path, configuration) as record:
        trials = perform(parts, record)
    identities = [parts.identity(trial.architecture) for trial in trials]
    assert len(identities) == len(set(identities)) == len(asked) > 8
