"""`nas search` and `nas resume`: what they print, and what they leave."""

import json
import re
import shutil
from pathlib import Path

import pytest
from command_line import SEARCH, call

import nas
from nas.export.folder import read_architecture
from searchspace.text import from_text

pytestmark = pytest.mark.usefixtures("own_folder")

DESIGN = {
    "architecture": str,
    "key": str,
    "score": float,
    "latency_ms": float,
    "low_ms": float,
    "high_ms": float,
    "macs": int,
    "params": int,
    "peak_bytes": int,
    "weight_bytes": int,
    "effectiveness": float,
}
"""What `docs/json.md` promises of a design."""


def test_json_is_one_object_with_the_promised_keys(run):
    folder, printed, said = run
    found = json.loads(printed)
    assert (found["format"], found["version"], found["run"]) == ("nas-result", 1, str(folder))
    assert json.loads((folder / "result.json").read_text()) == found
    for design in (found["best"], *found["front"]):
        for name, kind in DESIGN.items():
            assert type(design[name]) is kind, name
        assert design["low_ms"] <= design["latency_ms"] <= design["high_ms"] <= 0.12
        from_text(design["architecture"])
    assert found["best"] == found["front"][0]
    scores = [design["score"] for design in found["front"]]
    assert scores == sorted(scores, reverse=True)
    times = [design["latency_ms"] for design in found["front"]]
    assert times == sorted(times, reverse=True), "of two on a front, the better one is slower"
    assert "no accuracy is known" in " ".join(said.split())
    assert "Pareto front" in said


def test_the_exported_best_is_the_best(run):
    folder, printed, _ = run
    best = json.loads(printed)["best"]
    architecture, spec, facts = read_architecture(folder / "best")
    assert (architecture.key, architecture.text) == (best["key"], best["architecture"])
    assert spec.shape == (3, 32, 32)
    assert facts["batch"] == 2
    network = nas.load(folder / "best")
    assert sum(p.numel() for p in network.parameters()) == best["params"]


def test_a_finished_run_resumed_tells_the_same(run, capsys):
    folder, printed, _ = run
    code, out, err = call(capsys, "resume", folder, "--json")
    assert (code, json.loads(out)) == (0, json.loads(printed))
    assert "is finished" in " ".join(err.split())


def test_a_result_that_was_lost_is_made_again(run, tmp_path, capsys):
    shutil.copytree(run[0], tmp_path / "copy")
    (tmp_path / "copy" / "result.json").unlink()
    shutil.rmtree(tmp_path / "copy" / "best")
    code, out, _ = call(capsys, "resume", tmp_path / "copy", "--json")
    found = json.loads(out)
    assert (code, found["front"]) == (0, json.loads(run[1])["front"])
    assert (tmp_path / "copy" / "best" / "model.py").exists()


def test_without_json_people_read_it_and_a_folder_is_named_for_them(capsys):
    code, out, _ = call(capsys, *SEARCH[:-1], "12", "--strategy", "random")
    assert code == 0
    assert "Pareto front" in out
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}-small-a100", folder.name)
    assert str(folder) in out


def test_the_seed_decides_the_front(tmp_path, capsys):
    fronts = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        arguments = (*SEARCH, "--seed", seed, "--json", "--out", tmp_path / name)
        fronts.append(json.loads(call(capsys, *arguments)[1])["front"])
    assert fronts[0] == fronts[1] != fronts[2]
