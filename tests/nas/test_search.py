"""The loop of a run: stopped anywhere and resumed, it ends where a run never stopped would."""

import json
import os
import signal
import subprocess
import sys
import time
from random import Random

import pytest
from small_space import TEXT, begin, config, go_on, parts_of, perform
from stopped import Stop, counted

from nas.record import JOURNAL
from nas.search import best_of, front_of

RUN = {"evaluations": 130}
"""Generations of 13, and a last one that ends short."""


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
    cuts = [0, len(journal), *(random.randrange(len(journal)) for _ in range(3))]
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


# --- A real kill ---------------------------------------------------------------------------------


_NAS = [sys.executable, "-c", "import sys; from nas.cli import main; sys.exit(main())"]


def test_killed_twice_and_resumed_the_front_is_that_of_a_run_never_killed(tmp_path, capsys):
    from nas.cli import main

    (tmp_path / "small.grammar").write_text(TEXT)
    search = ["search", "--space", str(tmp_path / "small.grammar"), "--target", "a100"]
    search += ["--budget", "120us", "--evaluations", "200", "--seed", "5", "--json"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    _kill([*search, "--out", str(killed)], killed, recorded=20)
    _kill(["resume", str(killed)], killed, recorded=80)
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
    assert len(keys) == len(set(keys)) == 200
    return set(keys)
