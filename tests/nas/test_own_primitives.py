"""Primitives that a user names: through search, resume, export and prediction."""

import json
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from nas import cluster
from nas.cli import main
from nas.cluster import JudgePool
from nas.data import load_data
from nas.plugins import add_primitives
from nas.supernet.bank import WeightBank
from searchspace.primitives import PRIMITIVES
from searchspace.read import read_grammar
from searchspace.sample import sample

_MODULE = """
from torch import nn
from searchspace.primitives.base import Primitive

class Halve(nn.Module):
    def forward(self, x):
        return x / 2

HALVE = Primitive(
    name="halve", summary="half", module=Halve, arguments=lambda spec, values: {}, total=True
)
CLASH = Primitive(name="conv", summary="half", module=Halve, arguments=lambda spec, values: {})
"""
_SPACE = """\
space own : image[1, 8, 8] -> classes[10]
domain width = 8 .. 32 step 8
network -> stem(w) head with w : width
stem(w) is block -> conv(w, 3, 1) halve activation(relu)
head is block -> mean_pool classifier(classes)
"""
_OPTION = ["--primitive", "own_layers:HALVE"]


@pytest.fixture
def forget(folder_of_modules):
    """Makes the process one that was not told of the primitive."""
    (folder_of_modules / "own_layers.py").write_text(_MODULE)
    (folder_of_modules / "own.grammar").write_text(_SPACE)

    def forgotten():
        PRIMITIVES._known.pop("halve", None)

    return forgotten


@pytest.fixture
def run(forget):
    command = ["search", "--space", "own.grammar", "--target", "a100", "--evaluations", "6"]
    assert main([*command, *_OPTION, "--out", "run", "--max-effectiveness", "9"]) == 0
    forget()
    return Path("run")


def test_a_run_remembers_its_primitives(run, forget, capsys):
    assert json.loads((run / "config.json").read_text())["primitives"] == ["own_layers:HALVE"]
    first = json.loads((run / "result.json").read_text())
    (run / "result.json").unlink()
    assert main(["resume", str(run)]) == 0
    assert json.loads((run / "result.json").read_text())["best"] == first["best"]
    forget()
    assert main(["export", str(run), "--out", "exported"]) == 0
    source = Path("exported/model.py").read_text()
    assert "class Halve(nn.Module):" in source
    assert "own_layers" not in source
    forget()
    assert main(["predict", str(run), "--target", "a100", "--json"]) == 0


def test_an_export_is_read_where_its_primitives_are_named(run, capsys):
    command = ["predict", str(run / "best"), "--target", "a100", "--json"]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "no primitive 'halve'" in said
    assert "'--primitive package.module:NAME'" in said
    assert main([*command, *_OPTION]) == 0


def test_spaces_are_shown_and_sampled_with_them(forget, capsys):
    command = ["spaces", "sample", "own.grammar"]
    assert main(command) == 1
    assert "no rule or primitive 'halve'" in capsys.readouterr().err
    assert main([*command, *_OPTION]) == 0
    assert "halve" in (text := capsys.readouterr().out)
    assert main(["spaces", "draw", text, "--space", "own.grammar", *_OPTION]) == 0
    assert "halve" in capsys.readouterr().out
    assert main(["spaces", "show", "own.grammar", *_OPTION, *_OPTION]) == 0


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("own_layers:NONE", "module 'own_layers' has no 'NONE', asked for as primitive"),
        ("own_layers", "a primitive is given as package.module:name; got 'own_layers'"),
        ("no_such_layers:ONE", "cannot import 'no_such_layers' for the primitive"),
        ("json:dumps", "json:dumps must be a Primitive, a sequence of some, or a module with"),
        ("own_layers:CLASH", "'conv' names a primitive that ships and one of own_layers:CLASH"),
    ],
)
def test_what_is_no_primitive_is_told_in_a_sentence(forget, capsys, place, said):
    assert main(["spaces", "sample", "own.grammar", "--primitive", place]) == 2
    assert capsys.readouterr().err.startswith(f"nas: {said}")


def test_workers_are_told_of_them(forget, monkeypatch):
    add_primitives(["own_layers:HALVE"])
    data, grammar = load_data("digits"), read_grammar(_SPACE)
    pool = JudgePool(
        WeightBank(grammar, data.spec, seed=0), data, workers=1, primitives=("own_layers:HALVE",)
    )
    root = sample(grammar, Random(0)).root
    forget()
    # What a worker does with what the pool hands it, without starting Ray.
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda shared: shared))
    recipe = (pool.primitives, grammar, data.spec, 0)
    bank, _ = cluster._taken((recipe, {}, data))
    assert bank.candidate(root).keys
