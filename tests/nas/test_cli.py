"""The command line: what it prints, where, and how it ends."""

import csv
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import SEARCH, call, fault
from small_space import TEXT

import nas
from nas.cli import COMMANDS, parser
from nas.export.folder import read_architecture
from nas.quantities import parse_time_ms
from searchspace.space import space_names
from searchspace.text import from_text

pytestmark = pytest.mark.usefixtures("own_folder")

_ROOT = Path(__file__).parents[2]
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


# --- Search, and what it leaves ------------------------------------------------------------------


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


# --- Predict -------------------------------------------------------------------------------------


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


# --- Export --------------------------------------------------------------------------------------


def test_export_of_a_run_and_of_an_architecture_file(run, tmp_path, capsys):
    best = json.loads(run[1])["best"]
    shutil.copy(run[0] / "best" / "architecture.json", tmp_path / "mine.json")
    for source, out in ((run[0], "from_run"), (tmp_path / "mine.json", "from_file")):
        code, printed, _ = call(capsys, "export", source, "--out", out)
        assert (code, printed) == (0, f"exported {best['key']} to {out}\n")
        assert read_architecture(out)[0].text == best["architecture"]


def test_export_of_another_design_of_the_front(run, tmp_path, capsys):
    other = json.loads(run[1])["front"][-1]
    code, _, _ = call(capsys, "export", run[0], "--key", other["key"], "--out", "other")
    architecture, _, facts = read_architecture("other")
    assert (code, architecture.key, facts["score"]) == (0, other["key"], other["score"])
    code, out, _ = call(capsys, "predict", "other", "--target", "a100", "--json")
    assert json.loads(out)["latency_ms"] == other["latency_ms"]


# --- Listings and help ---------------------------------------------------------------------------


def test_spaces_are_listed_and_sampled(capsys):
    code, out, _ = call(capsys, "spaces")
    assert code == 0
    assert all(name in out for name in space_names())
    lines = [call(capsys, "spaces", "sample", "small.grammar", "-n", 3)[1] for _ in range(2)]
    assert lines[0] == lines[1]
    assert len([from_text(line) for line in lines[0].splitlines()]) == 3


def test_targets_are_listed_and_shown(capsys):
    code, out, _ = call(capsys, "targets")
    assert code == 0
    assert "a100" in out
    assert "h100" in out
    code, out, _ = call(capsys, "targets", "show", "a100")
    assert code == 0
    assert "A100" in out


def commands():
    return [command.__name__.rpartition(".")[2] for command in COMMANDS]


@pytest.mark.parametrize("command", [None, *commands()])
def test_help_holds_an_example_that_parses(command, capsys):
    arguments = ["--help"] if command is None else [command, "--help"]
    code, out, err = call(capsys, *arguments)
    assert (code, err) == (0, "")
    examples = re.findall(rf"^  (nas {command or ''}.*)$", out.split("example")[-1], re.MULTILINE)
    assert examples
    for example in examples:
        assert parser().parse_args(example.split()[1:]).run


def test_importing_the_command_line_imports_nothing_heavy():
    heavy = {"torch", "rich", "optuna", "ray", "pymoo", "triton"}
    code = f"import sys, nas.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_stranger_in_the_place_of_a_package_is_named_with_the_cure(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("raise SystemExit('imported a stranger')\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{_ROOT}"}
    code = "import sys; from nas.cli import main; sys.exit(main(['spaces']))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"nas: the package 'kernels' that Python finds ({tmp_path}")
    assert "pip uninstall kernels" in done.stderr
    assert done.stderr.count("\n") == 1


# --- Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--space", "conv_large"], r"no space 'conv_large'; did you mean 'conv_large_kernel'\?"),
        (["--space", "missing.grammar"], r"cannot read the grammar file missing\.grammar"),
        (["--target", "a1000"], "a1000"),
        (["--target", "missing.toml"], r"there is none at 'missing\.toml'"),
        (["--strategy", "evolve"], r"no strategy 'evolve'.*known: evolution, random, solve, tpe"),
        (["--strategy", "json:nothing"], "module 'json' has no 'nothing'"),
        (["--predictor", "entropi"], "no predictor 'entropi'; did you mean 'entropy'"),
        (["--predictor", "missing:P"], "cannot import 'missing'"),
        (["--limit", "hight=1..2"], "no domain 'hight' to limit; there are act, depth"),
        (["--limit", "width=1..2"], r"no value of domain 'width' .* lies in 1\.\.2"),
        (["--limit", "width=8"], r"NAME=LOW\.\.HIGH, such as width=32\.\.96; got 'width=8'"),
        (["--precision", "fp12"], "invalid choice: 'fp12'"),
        (["--budget", "5"], "a time needs a positive number and a unit, such as 5ms; got '5'"),
        (["--budget", "0ms"], "a time must be above zero; got '0ms'"),
        (["--budget=-1ms"], "a time needs a positive number and a unit.*got '-1ms'"),
        (["--budget", "nan"], "got 'nan'"),
        (["--budget", "nanms"], "got 'nanms'"),
        (["--budget", "5 parsec"], "got '5 parsec'"),
        (["--batch", "0"], "an integer of at least 1 is needed; got '0'"),
        (["--batch", "1.5"], "an integer of at least 1 is needed; got '1.5'"),
        (["--resolution", "-8"], "at least 1|expected one argument"),
        (["--classes", "1"], "an integer of at least 2"),
        (["--max-params", "0"], "a count must be at least 1"),
        (["--max-macs", "many"], "a count is a number"),
        (["--max-memory", "20"], "a size is a number with a unit, such as 20MB"),
        (["--max-weights", "0MB"], "a size must be at least 1 byte"),
        (["--max-effectiveness", "nan"], "a number above 0"),
        (["--evaluations", "0"], "an integer of at least 1"),
        (["--workers", "-1"], "at least 0|expected one argument"),
        (["--seed", "x"], "an integer of at least 0"),
        (["--front", "1"], "an integer of at least 2"),
        (["--front", "4"], "--front is answered by the solver: give --strategy solve"),
        (["--designs", "2"], "--designs is answered by the solver"),
        (["--front-over", "macs"], "give --front N too"),
        (
            ["--strategy", "solve", "--front", "4", "--front-over", "macs"],
            "bounded: params; got 'macs'",
        ),
        (["--sed", "1"], "unrecognized arguments"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_was_typed_wrong_is_a_fault_of_usage_and_leaves_no_run(changes, said, capsys):
    code, line = fault(capsys, *SEARCH, *changes, "--out", "run")
    assert code == 2
    assert re.search(said, line), line
    assert not Path("run").exists()


def test_no_command_is_a_fault_of_usage(capsys):
    assert fault(capsys)[0] == 2
    assert fault(capsys, "seek")[0] == 2


def test_a_budget_that_nothing_meets_names_the_fastest_and_leaves_no_run(capsys):
    code, line = fault(capsys, *SEARCH, "--budget", "1us", "--out", "run")
    assert code == 1
    match = re.search(r"meets 0\.001 ms on a100 .* the fastest takes up to ([\d.]+) ms", line)
    assert match, line
    assert not Path("run").exists()
    budget = f"{1.01 * parse_time_ms(match.group(1) + 'ms'):f}ms"
    assert call(capsys, *SEARCH, "--budget", budget, "--out", "run")[0] == 0


def test_a_broken_grammar_shows_the_line_the_column_and_a_caret(capsys):
    Path("broken.grammar").write_text(TEXT.replace("head is block", "head is is block"))
    code, out, err = call(capsys, "search", "--space", "broken.grammar", "--target", "a100")
    assert (code, out) == (1, "")
    first, *shown = err.splitlines()
    number = TEXT.splitlines().index("head is block    -> global_pool classifier(classes)") + 1
    assert first.startswith(f"nas: broken.grammar, line {number}, column ")
    assert "head is is block" in shown[0]
    column = shown[1].index("^")
    assert shown[0][column : column + 2] == "is"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["resume", "nowhere"], 1, "nowhere is no run: it has no config.json"),
        (["export", "nowhere", "--out", "x"], 1, "nowhere is missing"),
        (["predict", "nowhere", "--target", "a100"], 2, "no file or folder 'nowhere'"),
        (["predict", "--target", "a100"], 2, "give a network"),
        (["predict", "json:nothing", "--target", "a100"], 2, "module 'json' has no 'nothing'"),
        (["predict", "os:getcwd", "--target", "a100"], 2, "must return an nn.Module"),
        (["predict", "json:dumps", "--target", "a100"], 2, "it raised TypeError"),
        (["predict", "json:__name__", "--target", "a100"], 2, "it raised TypeError"),
        (["predict", "torch.nn:Identity", "--target", "none"], 2, "none"),
        (["predict", "--kernels", "no.csv", "--target", "a100"], 2, "--out FILE"),
        (["predict", "--kernels", "no.csv", "--out", "p.csv", "--target", "a100"], 1, "'no.csv'"),
        (["predict", "small.grammar", "--target", "a100"], 1, "small.grammar is damaged"),
        (["spaces", "show", "nothing"], 2, "no space 'nothing'"),
        (["spaces", "sample", "no.grammar"], 2, "cannot read the grammar file"),
        (["targets", "show", "abacus"], 2, "abacus"),
        (["search", "--target", "a100"], 2, "required: --space"),
        ([*SEARCH, "--out", "small.grammar"], 1, "small.grammar"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_missing_or_of_another_kind_ends_in_one_line(arguments, code, said, capsys):
    found, line = fault(capsys, *arguments)
    assert found == code, line
    assert said in line


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", "{", "config.json is damaged"),
        ("config.json", "[]", "config.json is damaged"),
        ("journal.log", "garbage\n", "journal.log is damaged"),
        ("result.json", "{", "result.json is damaged"),
        ("result.json", "[]", "result.json is damaged"),
    ],
)
def test_a_damaged_run_is_said_to_be(run, tmp_path, capsys, name, content, said):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    if name == "journal.log":
        (folder / "result.json").unlink()
    (folder / name).write_text(content)
    code, out, err = call(capsys, "resume", folder, "--json")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("nas: ")
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_folder_that_holds_a_run_is_not_written_over(run, capsys):
    code, line = fault(capsys, *SEARCH, "--out", run[0])
    assert code == 1
    assert f"go on with 'nas resume {run[0]}'" in line


def test_a_key_that_the_front_lacks_is_told_with_those_that_it_has(run, capsys):
    code, line = fault(capsys, "export", run[0], "--key", "0" * 16, "--out", "x")
    assert code == 1
    assert json.loads(run[1])["best"]["key"] in line


def test_a_predictor_that_fails_while_it_searches_ends_in_one_line(tmp_path, capsys):
    name = "foreign_predictor_that_fails"
    (tmp_path / f"{name}.py").write_text(
        "class P:\n    def __init__(self, context):\n        pass\n"
        "    def predict(self, architectures):\n        raise KeyError('layer')\n"
    )
    code, out, err = call(capsys, *SEARCH, "--predictor", f"{name}:P", "--out", "run")
    assert code == 1
    assert err.splitlines()[-1] == "nas: the predictor P failed: KeyError: 'layer'"
    assert "Traceback" not in out + err


def test_interrupted_is_said_and_ends_with_130(capsys, monkeypatch):
    spaces = importlib.import_module("nas.commands.spaces")

    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(spaces, "list_spaces", interrupt)
    assert fault(capsys, "spaces") == (130, "nas: interrupted")
