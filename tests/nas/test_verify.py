"""`nas verify`: which predictions hold here, kept and taken up again."""

import json
import shutil

import pytest
from command_line import call, fault

from hwprofile.calibration import CalibrationError
from hwprofile.estimate import Estimate
from hwprofile.runtime import RUNTIMES
from hwprofile.target import Target
from nas import verify
from nas.calibrate import calibrated
from nas.record import RecordError
from nas.report.verification import kendall_tau, verification


class Priced(Target):
    """A target of this machine's CPU whose prices are set by hand."""

    name, runtime = "cpu", RUNTIMES["cpu-eager"]
    schemes, default_scheme = ("fp32",), "fp32"

    def __init__(self, low=0.0, high=1e9):
        self.low, self.high = low, high

    def alone(self, kernel):
        value = min(max(1e-6 * kernel.flops, self.low), self.high)
        return Estimate(value=value, low=self.low, high=self.high)

    def describe(self):
        return "set by hand"


@pytest.fixture
def folder(run, tmp_path):
    """A finished run for an A100."""
    return shutil.copytree(run[0], tmp_path / "run")


@pytest.fixture
def on_cpu(monkeypatch):
    """Sets the target that `--target cpu` gives."""

    def put(target):
        real = verify.target_of
        monkeypatch.setattr(verify, "target_of", lambda c: target if c.target == "cpu" else real(c))

    put(Priced())
    return put


def measured(folder, done=None, **options):
    task = verify.plan(folder, target="cpu", **options)
    done = verify.known(task) if done is None else done
    fresh = [step for step in verify.measure(task, done, seconds=0.01) if isinstance(step, list)]
    done = done | {row.key: row for rows in fresh for row in rows}
    return task, [done[key] for key in task.networks], sum(map(len, fresh))


def test_a_run_for_another_device_says_what_to_do_instead(folder, capsys):
    code, line = fault(capsys, "verify", folder)
    assert code == 2
    assert "predicted for a100, and this machine is not that device" in line
    assert "--target cpu" in line


def test_the_command_says_which_predictions_held(folder, on_cpu, capsys):
    arguments = ("verify", folder, "--target", "cpu", "--limit", 2, "--seconds", 1)
    code, out, _ = call(capsys, *arguments, "--json")
    found = json.loads(out)
    assert (code, found["format"], found["version"]) == (0, "nas-verification", 1)
    assert (found["target"], found["runtime"]) == ("cpu", "cpu-eager")
    assert (found["precision"], found["batch"], found["input"]) == ("fp32", 2, [3, 32, 32])
    front = [row["key"] for row in json.loads((folder / "result.json").read_text())["front"]]
    assert [row["key"] for row in found["networks"]] == [front[0], front[-1]]
    for row in found["networks"]:
        assert row["measured_ms"] == row["timing"]["q50_ms"] > 0
        assert row["error"] == pytest.approx(row["latency_ms"] / row["measured_ms"] - 1)
    assert found["inside"] == 1.0
    # Nothing is measured again, so the figures are the same.
    code, out, _ = call(capsys, *arguments)
    assert code == 0
    for row in found["networks"]:
        assert f"{row['measured_ms']:.4g}" in out
    assert "100% of 2 inside a range made for 90%" in out


def test_a_range_that_is_too_low_holds_nothing(folder, on_cpu):
    on_cpu(Priced(high=1e-9))
    task, rows, _ = measured(folder, limit=2)
    record = verification(task, rows)
    assert record["inside"] == 0.0
    assert record["median_error"] == pytest.approx(1.0)


def test_what_was_measured_is_kept_however_it_was_stopped(folder, on_cpu, monkeypatch):
    monkeypatch.setattr(verify, "GROUP", 1)
    task = verify.plan(folder, target="cpu", limit=3)
    steps = verify.measure(task, {}, seconds=0.01)
    (first,) = [step for _, step in zip(range(2), steps, strict=False) if isinstance(step, list)]
    steps.close()
    path = folder / verify.VERIFIED
    with path.open("a") as file:
        file.write('{"key": "cut sho')
    assert verify.known(task) == {first[0].key: first[0]}
    _, rows, fresh = measured(folder, limit=3)
    assert (len(rows), fresh) == (3, 2)
    assert rows == list(verify.known(task).values())
    # Under other conditions it says nothing.
    lines = path.read_text().replace('"batch": 2', '"batch": 3')
    path.write_text(lines)
    assert verify.known(task) == {}
    path.write_text("{}\n")
    with pytest.raises(RecordError, match="delete it"):
        verify.known(task)


def test_a_verified_run_calibrates(folder, on_cpu):
    _, rows, _ = measured(folder, limit=3)
    times = [row.predicted.value for row in rows]
    # As if the machine took three times what was predicted, whatever it did.
    path = folder / verify.VERIFIED
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line, time in zip(lines, times, strict=True):
        line["timing"] |= dict.fromkeys(("q20_ms", "q50_ms", "q80_ms"), 3 * time)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    target = calibrated(Priced(), folder)
    assert target.calibration.networks == 3
    on_cpu(target)
    again = verify.plan(folder, target="cpu", limit=3)
    predicted = [estimate.value for _, estimate in again.networks.values()]
    assert predicted == pytest.approx([3 * time for time in times], rel=1e-3)


def test_a_run_that_was_not_verified_there_calibrates_nothing(folder, on_cpu):
    measured(folder, limit=3)
    target = Priced()
    target.runtime = RUNTIMES["cpu-inductor"]
    with pytest.raises(CalibrationError, match=r"holds 0: nas verify .* --runtime cpu-inductor"):
        calibrated(target, folder)


def test_ranks_agree_or_not():
    assert kendall_tau([1, 2, 3], [10, 20, 30]) == pytest.approx(1.0)
    assert kendall_tau([1, 2, 3], [30, 20, 10]) == pytest.approx(-1.0)
    assert kendall_tau([1], [2]) is None
    assert kendall_tau([1, 1], [2, 3]) is None
