"""`nas kernels bench`: what it prints, draws and refuses."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
import torch

from hwprofile import bench as benching
from hwprofile.bench import Limits, Result
from hwprofile.clock import Timing
from nas.cli import main
from nas.report.efficiency_plot import efficiency_svg


def call(capsys, *arguments):
    capsys.readouterr()
    code = main(["kernels", "bench", *arguments])
    return (code, *capsys.readouterr())


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_it_is_refused_in_one_sentence(capsys):
    code, out, said = call(capsys)
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert "--backend cpu" in said


def test_wrong_names_are_told_before_anything_runs(capsys):
    code, _, said = call(capsys, "--only", "conv3d")
    assert (code, said.count("\n")) == (2, 1)
    assert call(capsys, "--backend", "cpu", "--only", "w4_gemm")[0] == 1


def result(provider, efficiency=0.5, fault="", **changes):
    timing = None
    if not fault:
        ms = 1.0 / efficiency
        timing = Timing(repeats=3, min_ms=ms, q20_ms=ms, q50_ms=ms, q80_ms=ms)
    fields = {"operation": "gemm", "problem": "64x64", "dtype": "float32", "flops": 10**9}
    fields |= {"bytes": 10**7, "attainable_ms": 1.0, "provider": provider}
    return Result(timing=timing, fault=fault, **{**fields, **changes})


@pytest.fixture
def _timed(monkeypatch):
    found = [
        result("eager", 0.25),
        result("compile", 0.5),
        result("eager", 1.2, operation="relu", bytes=10**9),
        result("compile", fault="RuntimeError: none", operation="relu", bytes=10**9),
    ]
    limits = Limits(gbps=10.0, tflops={"fp32": 0.1}, source="a test")
    monkeypatch.setattr(benching, "limits_of", lambda *_: limits)
    monkeypatch.setattr(benching, "bench", lambda *_, **__: iter([found[:2], found[2:]]))


@pytest.mark.usefixtures("_timed")
def test_the_table_says_what_was_compared(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, _ = call(capsys, "--backend", "cpu")
    assert code == 0
    assert "on a CPU" in out
    assert "no kernels were run" in out
    (line,) = [line for line in out.splitlines() if "compile" in line and "2.00×" in line]
    assert "50.0%" in line
    assert "not run: relu, 64x64, float32, compile: RuntimeError: none" in out


@pytest.mark.usefixtures("_timed")
def test_json_and_picture(capsys, tmp_path):
    code, out, _ = call(capsys, "--backend", "cpu", "--json", "--out", str(tmp_path / "b"))
    found = json.loads(out)
    assert (code, found["format"], found["version"]) == (0, "nas-kernel-bench", 1)
    assert json.loads((tmp_path / "b" / "bench.json").read_text()) == found
    first, second, _, failed = found["results"]
    assert (first["speed"], second["speed"], failed["speed"]) == (1.0, 2.0, None)
    assert second["tflops"] == pytest.approx(0.5)
    root = ElementTree.parse(tmp_path / "b" / "efficiency.svg").getroot()
    texts = ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("}text")]
    assert {"gemm", "relu", "torch, eager", "attainable"} <= set(texts)
    assert "this project's kernels" not in texts  # none was run


def test_marks_lie_where_their_efficiency_is():
    many = [
        result("triton", share, operation=f"op{i}", bytes=10**7 + i)
        for i, share in enumerate((0.8, 0.1))
    ]
    root = ElementTree.fromstring(efficiency_svg(many, "title", "source"))
    marks = [node for node in root.iter() if node.tag.endswith("}circle")]
    heights = [float(node.attrib["cy"]) for node in marks if float(node.attrib["cy"]) > 100]
    assert len(heights) == 2
    assert heights[0] < heights[1]


def test_nothing_that_ran_is_said():
    assert "nothing could be run" in efficiency_svg([result("eager", fault="x")], "t", "s")
