"""Runs with data: what is judged, and what is on disk by then."""

from itertools import pairwise

import pytest
from small_space import begin, config, go_on, parts_of, perform
from stopped import Counting, Stop

from nas.record import JOURNAL
from nas.search import front_of


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
