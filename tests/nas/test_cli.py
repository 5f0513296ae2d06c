"""The command line: its listings, its help, and how it ends."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call, fault

from nas.cli import COMMANDS, parser
from searchspace.space import space_names
from searchspace.text import from_text

pytestmark = pytest.mark.usefixtures("own_folder")

_ROOT = Path(__file__).parents[2]


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


def test_no_command_is_a_fault_of_usage(capsys):
    assert fault(capsys)[0] == 2
    assert fault(capsys, "seek")[0] == 2


def test_interrupted_is_said_and_ends_with_130(capsys, monkeypatch):
    spaces = importlib.import_module("nas.commands.spaces")

    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(spaces, "list_spaces", interrupt)
    assert fault(capsys, "spaces") == (130, "nas: interrupted")
