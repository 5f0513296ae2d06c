"""A folder to run commands in, and a run that has ended."""

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest
from command_line import SEARCH
from small_space import TEXT

from nas.cli import main


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A current directory with the small space; modules may be put there, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "small.grammar").write_text(TEXT)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run, with what the command printed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.grammar").write_text(TEXT)
    out = folder / "run"
    arguments = [*SEARCH, "--budget", "0.12ms", "--batch", "2", "--json", "--out", str(out)]
    arguments[2] = str(folder / "small.grammar")
    with redirect_stdout(StringIO()) as printed, redirect_stderr(StringIO()) as said:
        assert main(arguments) == 0
    return out, printed.getvalue(), said.getvalue()
