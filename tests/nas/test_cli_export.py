"""`nas export`: which design it writes, and where."""

import json
import shutil

import pytest
from command_line import call

from nas.export.folder import read_architecture

pytestmark = pytest.mark.usefixtures("own_folder")


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
