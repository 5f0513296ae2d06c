"""The record of a run: what was appended reads back, whatever stopped the process."""

import errno
import json
import os
import subprocess
import sys
from random import Random

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from small_space import begin, config, go_on, grammar_of

from nas.record import CONFIG, JOURNAL, LOCK, RecordError, read_config, write_json
from nas.trial import Trial
from searchspace.sample import sample

GRAMMAR = grammar_of()
_REASONS = (
    "",
    "no memory",
    "line\nbreak",
    'quote " and \\',
    "Umlaut ü, 漢字, \u2028",
    "\x00\x1f{]",
)
_values = st.floats(allow_nan=False, allow_infinity=False, width=64)


@st.composite
def trials(draw):
    """Trials of every status with the reasons that people and machines give."""
    number = draw(st.integers(0, 10**6))
    status = draw(st.sampled_from(("feasible", "infeasible", "failed")))
    values = {
        "score": draw(_values),
        "latency_ms": draw(_values),
        "macs": draw(st.integers(0, 2**62)),
    }
    return Trial(
        number=number,
        architecture=sample(GRAMMAR, Random(draw(st.integers(0, 2**32)))),
        status=status,
        values={} if status == "failed" and draw(st.booleans()) else values,
        violations={"high_ms": draw(st.floats(0, 1e9)), "params": 0.0},
        reason=draw(st.sampled_from(_REASONS)),
    )


def some(count: int, seed: int = 0) -> list[Trial]:
    random = Random(seed)
    found = []
    for number in range(count):
        status = ("feasible", "infeasible", "failed")[number % 3]
        found.append(
            Trial(
                number=number,
                architecture=sample(GRAMMAR, random),
                status=status,
                values={} if status == "failed" else {"score": 1.5 * number, "latency_ms": 0.1},
                violations={"high_ms": 0.5 if status == "infeasible" else 0.0},
                reason=_REASONS[number % len(_REASONS)],
            )
        )
    return found


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@given(st.lists(st.lists(trials(), max_size=4), max_size=3))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_appended_reads_back_at_once_and_later(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("record") / "run"
    wanted = [trial for batch in batches for trial in batch]
    with begin(folder, config()) as record:
        for batch in batches:
            record.append(batch, GRAMMAR)
        assert record.trials() == wanted
    with go_on(folder, config()) as record:
        assert record.trials() == wanted


def test_optuna_opens_the_journal_and_sees_values_constraints_and_states(folder):
    wanted = some(7)
    with begin(folder, config()) as record:
        record.append(wanted, GRAMMAR)
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    assert study.metric_names == ["score", "latency_ms"]
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert len(study.trials) == 7
    for frozen, trial in zip(study.trials, wanted, strict=True):
        if trial.status == "failed":
            assert frozen.state.name == "FAIL"
        else:
            assert frozen.values == [trial.values["score"], trial.values["latency_ms"]]
        assert frozen.constraints == trial.violations
        assert frozen.params.keys() == {"w1", "w2"}
        assert frozen.user_attrs["key"] == trial.architecture.key
    feasible = {t.number for t in wanted if t.status == "feasible"}
    assert {t.user_attrs["number"] for t in study.best_trials} <= feasible


def test_every_torn_end_is_dropped_and_the_record_goes_on(folder):
    wanted = some(6)
    with begin(folder, config()) as record:
        record.append(wanted[:5], GRAMMAR)
    whole = (folder / JOURNAL).read_bytes()
    lines = whole.splitlines(keepends=True)
    random = Random(3)
    for cut in [0, 1, len(lines[0]) - 1, len(lines[0]), len(whole) - 1, *_cuts(whole, random, 12)]:
        (folder / JOURNAL).write_bytes(whole[:cut])
        complete = whole[:cut].count(b"\n")
        kept = max(0, complete - (len(lines) - 5))
        with go_on(folder, config()) as record:
            assert record.trials() == wanted[:kept], cut
            record.append(wanted[kept:], GRAMMAR)
            assert record.trials() == wanted
        with go_on(folder, config()) as record:
            assert record.trials() == wanted


def _cuts(data, random, count):
    return [random.randrange(len(data)) for _ in range(count)]


def test_a_journal_without_any_line_end_is_empty(folder):
    with begin(folder, config()):
        pass
    (folder / JOURNAL).write_bytes(b'{"op_code": 0' * 20_000)
    with go_on(folder, config()) as record:
        assert record.trials() == []


def test_a_lock_that_optuna_left_behind_is_not_waited_for(folder, monkeypatch):
    with begin(folder, config()) as record:
        record.append(some(2), GRAMMAR)
    os.symlink(folder / JOURNAL, folder / f"{JOURNAL}.lock")  # as Optuna's lock does

    def wait(seconds):
        raise AssertionError("waits for a process that is gone")

    monkeypatch.setattr("time.sleep", wait)
    with go_on(folder, config()) as record:
        record.append(some(3)[2:], GRAMMAR)
        assert record.trials() == some(3)


_HOLD = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_ends(folder):
    with begin(folder, config()), pytest.raises(RecordError, match="in use by another process"):
        go_on(folder, config())
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder / LOCK)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RecordError, match="in use"):
            go_on(folder, config())
    finally:
        holder.kill()  # as the system's own out-of-memory killer does
        holder.communicate()
    go_on(folder, config()).close()


def test_a_run_is_begun_once(folder):
    with begin(folder, config()):
        pass
    with pytest.raises(RecordError, match=f"holds a run already: go on with 'nas resume {folder}'"):
        begin(folder, config())


def test_the_configuration_reads_back(folder):
    made = config(limits={"width": (8, 16)}, budget_ms=None)
    with begin(folder, made):
        pass
    assert read_config(folder) == made


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"format": "nas-config", "version": 1}',
        b'{"format": "nas-config", "version": 99}',
    ],
)
def test_a_damaged_configuration_is_said_to_be(folder, damage):
    with begin(folder, config()):
        pass
    (folder / CONFIG).write_bytes(damage)
    with pytest.raises(RecordError, match=rf"{CONFIG} is damaged"):
        read_config(folder)


@pytest.mark.parametrize(
    "change", [{"limits": {"width": []}}, {"limits": {"w": ["a", 1]}}, {"batch": {}}]
)
def test_a_configuration_of_wrong_types_is_damaged_too(folder, change):
    folder.mkdir()
    write_json(folder / CONFIG, {**config().to_json(), **change})
    with pytest.raises(RecordError, match="is damaged"):
        read_config(folder)


def test_where_there_is_no_run(tmp_path):
    with pytest.raises(RecordError, match=r"is no run: it has no config\.json"):
        read_config(tmp_path / "nowhere")


def test_no_damage_of_the_journal_ends_in_anything_but_a_record_error(folder):
    """A byte changed anywhere: the trials read back, or it is said that the record is damaged."""
    wanted = some(4)
    with begin(folder, config()) as record:
        record.append(wanted, GRAMMAR)
    whole = (folder / JOURNAL).read_bytes()
    random, faults = Random(5), []
    for _ in range(120):
        place = random.randrange(len(whole))
        changed = whole[:place] + bytes([random.randrange(256)]) + whole[place + 1 :]
        (folder / JOURNAL).write_bytes(changed)
        try:
            with go_on(folder, config()) as record:
                record.trials()
        except RecordError as fault:
            faults.append(str(fault))
    assert faults
    assert all("is damaged" in fault for fault in faults)


@pytest.mark.parametrize(
    "line", [b"garbage\n", b"5\n", b"[]\n", b"{}\n", b'{"op_code": 77, "worker_id": "a"}\n', b"\n"]
)
def test_foreign_lines_in_the_journal_are_damage(folder, line):
    with begin(folder, config()) as record:
        record.append(some(2), GRAMMAR)
    path = folder / JOURNAL
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(RecordError, match=r"journal\.log is damaged"):
        go_on(folder, config()).close()


def test_a_full_disk_leaves_what_was_recorded_before(folder, monkeypatch):
    wanted = some(4)
    with begin(folder, config()) as record:
        record.append(wanted[:2], GRAMMAR)

        def full(handle):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                record.append(wanted[2:], GRAMMAR)
    with go_on(folder, config()) as record:
        found = record.trials()
        assert found[:2] == wanted[:2]
        record.append(wanted[len(found) :], GRAMMAR)
        assert record.trials() == wanted


def test_a_result_that_cannot_be_written_leaves_the_old_one(folder, monkeypatch):
    folder.mkdir()
    path = folder / "result.json"
    write_json(path, {"a": 1})

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"a": 2})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in folder.iterdir()] == ["result.json"]


def test_a_file_in_the_way_is_told_as_such(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        begin(tmp_path / "file", config())


@pytest.mark.parametrize(
    ("old", "new"), [("depthwise(3)", "depthwise(5)"), ('"feasible"', '"feasable"')]
)
def test_a_trial_that_was_changed_by_hand_is_damaged(folder, old, new):
    """Else a resumed run would report a design that it never evaluated."""
    with begin(folder, config()) as record:
        record.append(some(12), GRAMMAR)
    path = folder / JOURNAL
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(RecordError, match="is damaged"), go_on(folder, config()) as record:
        record.trials()
