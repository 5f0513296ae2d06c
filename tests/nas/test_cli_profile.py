"""`nas profile`: what it asks, prints and leaves."""

from __future__ import annotations

import io
import json

import command_line
import pytest
import torch
from torch import nn

from hwprofile import cpu_measure, cpu_networks
from hwprofile.cpu_table import read_cpu_profile
from hwprofile.replay import calls_of


def few_calls(**_):
    with torch.device("meta"):
        body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
        return calls_of(body, [torch.empty(1, 3, 8, 8)])


@pytest.fixture(autouse=True)
def _few_calls(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu_measure, "calls_of_spaces", few_calls)
    monkeypatch.setattr(cpu_measure, "calls_of_usual_layers", few_calls)
    monkeypatch.setattr(cpu_networks, "profiled_networks", dict)
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")


def call(capsys, *arguments):
    return command_line.call(capsys, "profile", *arguments)


def test_the_table_and_what_it_holds(capsys, tmp_path):
    out = tmp_path / "p.parquet"
    code, said, _ = call(capsys, "--yes", "--out", str(out))
    assert code == 0
    rows = read_cpu_profile(out).rows
    assert f"{len(rows)} rows in" in said
    assert torch.__version__ in said
    assert {row.scheme for row in rows} == {"fp32", "bf16"}
    assert call(capsys, "--yes", "--out", str(out))[0] == 0  # measured anew


def test_the_default_place_names_device_and_version(capsys, tmp_path):
    code, said, _ = call(capsys, "--yes", "--json")
    found = json.loads(said)
    assert (code, found["format"]) == (0, "nas-cpu-profile-summary")
    assert found["out"].startswith(str(tmp_path / "cache" / "profiles"))
    assert f"torch-{torch.__version__}".replace("+", "-") in found["out"]
    assert {row["op"] for row in found["operations"]} >= {"conv2d", "relu"}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_it_asks_in_a_terminal_and_nowhere_else(capsys, monkeypatch, tmp_path):
    out = str(tmp_path / "p.parquet")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, _, said = call(capsys, "--out", out)
    assert (code, said) == (2, "nas: nobody can be asked here: give --yes to measure\n")
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert call(capsys, "--out", out)[0] == 130
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert call(capsys, "--out", out)[0] == 0


def test_an_interruption_is_told_and_the_next_run_goes_on(capsys, monkeypatch, tmp_path):
    out = tmp_path / "p.parquet"
    whole = cpu_measure.measure_cpu

    def interrupted(*arguments, **named):
        yield next(whole(*arguments, **named))
        raise KeyboardInterrupt

    monkeypatch.setattr(cpu_measure, "measure_cpu", interrupted)
    code, _, said = call(capsys, "--yes", "--out", str(out))
    assert code == 130
    assert "rows are kept in" in said
    assert not out.exists()
    monkeypatch.setattr(cpu_measure, "measure_cpu", whole)
    assert call(capsys, "--yes", "--out", str(out))[0] == 0
    assert {row.scheme for row in read_cpu_profile(out).rows} == {"fp32", "bf16"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_local_is_refused(capsys):
    code, _, said = call(capsys, "--target", "local", "--yes")
    assert (code, said.count("\n")) == (2, 1)
    assert "torch sees none" in said


def test_wrong_words_are_told_in_one_sentence(capsys, tmp_path):
    code, _, said = call(capsys, "--yes", "--out", str(tmp_path / "p.csv"))
    assert (code, said.count("\n")) == (2, 1)
    code, _, said = call(capsys, "--yes", "--only", "gemm")
    assert (code, said.count("\n")) == (2, 1)
    assert "--only chooses operators of a GPU's profile" in said
