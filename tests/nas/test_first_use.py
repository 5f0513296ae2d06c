"""A target that measures this machine before its first use."""

from __future__ import annotations

import io
import json

import pytest
import torch
from torch import nn

from hwprofile import cpu_measure, cpu_networks
from hwprofile.cpu_grid import calls_of_usual_layers
from nas.cli import main


def few_calls(**_):
    return calls_of_usual_layers(layers=4, seed=0)


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu_measure, "calls_of_spaces", few_calls)
    monkeypatch.setattr(cpu_measure, "calls_of_usual_layers", few_calls)
    monkeypatch.setattr(cpu_networks, "profiled_networks", dict)
    monkeypatch.setattr(cpu_measure, "SECONDS", 1)
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path / "cache"))


def network():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


ARGUMENTS = (
    *("predict", f"{__name__}:network", "--target", "cpu"),
    *("--resolution", "8", "--json"),
)


def call(capsys, *arguments):
    capsys.readouterr()
    code = main([*ARGUMENTS, *arguments])
    return (code, *capsys.readouterr())


def test_nothing_is_measured_where_nobody_can_be_asked(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, _, said = call(capsys)
    assert (code, said.count("\n")) == (2, 1)
    assert "give --yes, or run 'nas profile --target cpu --yes'" in said


def test_yes_measures_once_and_prices_from_then_on(capsys, monkeypatch):
    code, said, _ = call(capsys, "--yes")
    first = json.loads(said)
    assert code == 0
    assert first["latency_ms"] > 0
    assert first["low_ms"] <= first["latency_ms"] <= first["high_ms"]
    monkeypatch.setattr(cpu_measure, "plan_cpu", None)  # is not asked again
    assert json.loads(call(capsys)[1])["latency_ms"] == first["latency_ms"]
    assert torch.__version__
