"""`nas profile`: what it asks, prints and leaves."""

from __future__ import annotations

import io
import json

import pytest
import torch

from hwprofile import measure
from hwprofile.layer import Layer
from hwprofile.measure import part_of
from hwprofile.profile_table import read_profile
from nas.cli import main


@pytest.fixture(autouse=True)
def _few_layers(monkeypatch, tmp_path):
    layers = [Layer("gemm", (4, 8, 16)), Layer("relu", (4, 8))]
    monkeypatch.setattr(measure, "layers_of_spaces", lambda **_: layers)
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")


def call(capsys, *arguments):
    capsys.readouterr()
    code = main(["profile", *arguments])
    return (code, *capsys.readouterr())


def test_the_table_and_what_it_holds(capsys, tmp_path):
    out = tmp_path / "p.parquet"
    code, said, _ = call(capsys, "--yes", "--out", str(out))
    assert code == 0
    assert "8 rows of 4 layers" in said
    assert torch.__version__ in said
    assert len(read_profile(out).rows) == 8
    assert call(capsys, "--yes", "--out", str(out))[0] == 1  # is there already


def test_the_default_place_names_device_and_version(capsys, tmp_path):
    code, said, _ = call(capsys, "--yes", "--json", "--only", "relu")
    found = json.loads(said)
    assert (code, found["format"], found["rows"]) == (0, "nas-profile-summary", 4)
    assert found["out"].startswith(str(tmp_path / "cache" / "profiles"))
    assert f"torch-{torch.__version__}".replace("+", "-") in found["out"]
    assert {row["op"] for row in found["operators"]} == {"relu"}


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
    whole = measure.measure

    def interrupted(*arguments, **named):
        yield next(whole(*arguments, **named))
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "measure", interrupted)
    code, _, said = call(capsys, "--yes", "--out", str(out))
    assert code == 130
    assert "2 rows are kept in" in said
    assert part_of(out).exists()
    monkeypatch.setattr(measure, "measure", whole)
    assert call(capsys, "--yes", "--out", str(out))[0] == 0
    assert len(read_profile(out).rows) == 8


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_local_is_refused(capsys):
    code, _, said = call(capsys, "--target", "local", "--yes")
    assert (code, said.count("\n")) == (2, 1)
    assert "torch sees none" in said


def test_wrong_words_are_told_in_one_sentence(capsys, tmp_path):
    code, _, said = call(capsys, "--yes", "--out", str(tmp_path / "p.csv"))
    assert (code, said.count("\n")) == (2, 1)
    code, _, said = call(capsys, "--yes", "--only", "conv3d")
    assert (code, said.count("\n")) == (1, 1)
    assert "operators are gemm" in said
