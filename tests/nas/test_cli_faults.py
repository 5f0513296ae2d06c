"""Faults of a user: what is said, in one line, and with which code a command ends."""

import json
import re
import shutil
from pathlib import Path

import pytest
from command_line import SEARCH, call, fault
from small_space import TEXT

from nas.quantities import parse_time_ms

pytestmark = pytest.mark.usefixtures("own_folder")


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
