"""`nas predict`: what it prices, and what it prints."""

import csv
import json

import pytest
from command_line import call

pytestmark = pytest.mark.usefixtures("own_folder")


def test_predict_on_the_exported_best_says_what_the_search_said(run, capsys):
    folder, printed, _ = run
    best = json.loads(printed)["best"]
    for place in (folder / "best", folder / "best" / "architecture.json"):
        code, out, err = call(capsys, "predict", place, "--target", "a100", "--json")
        assert (code, err) == (0, "")
        found = json.loads(out)
        for name in ("key", "latency_ms", "low_ms", "high_ms", "macs", "params", "peak_bytes"):
            assert found[name] == best[name], name
        assert (found["batch"], found["precision"], found["input"]) == (2, "fp16", [3, 32, 32])
        assert sum(row["latency_ms"] for row in found["kernels"]) == pytest.approx(
            best["latency_ms"]
        )


def test_predict_prices_the_module_of_any_callable(tmp_path, capsys):
    (tmp_path / "foreign_nets.py").write_text(
        "from torch import nn\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))\n"
    )
    arguments = ("predict", "foreign_nets:net", "--target", "a100", "--resolution", 8)
    code, out, _ = call(capsys, *arguments, "--batch", 4, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["params"] == 8 * 27 + 8 + 288 * 5 + 5
    assert found["macs"] == 36 * 8 * 27 + 288 * 5
    assert found["batch"] == 4
    code, out, _ = call(capsys, *arguments)
    assert code == 0
    assert "convolution" in out


def test_predict_prices_a_table_of_kernels(tmp_path, capsys):
    table, priced = tmp_path / "gemm.csv", tmp_path / "priced.csv"
    table.write_text("op,scheme,m,n,k,note\ngemm,fp16,128,256,512,a\ngemm,fp16,4096,4096,4096,b\n")
    arguments = ("predict", "--kernels", table, "--out", priced, "--target", "a100")
    code, out, _ = call(capsys, *arguments)
    assert (code, out) == (0, f"priced 2 kernels for a100: {priced}\n")
    with priced.open() as file:
        small, large = csv.DictReader(file)
    assert [small["note"], large["note"]] == ["a", "b"]
    assert float(small["predicted_ms"]) < float(large["predicted_ms"])
    for row in (small, large):
        assert float(row["low_ms"]) <= float(row["predicted_ms"]) <= float(row["high_ms"])
