"""`nas spaces count` and `nas spaces sample`: what they print, and how they end."""

import json

import pytest

from nas.cli import main
from searchspace.check import check
from searchspace.parameters import parameters
from searchspace.space import load_space
from searchspace.table import table_of
from searchspace.text import from_text


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in ("spaces", *words)]) == 0
    return capsys.readouterr().out


def test_count_prints_the_number(capsys):
    assert said(capsys, "count", "pooling") == "547\n"
    found = json.loads(said(capsys, "count", "einspace", "--max-nodes", 9, "--json"))
    assert found == {"space": "einspace", "max_nodes": 9, "architectures": 255}
    lines = said(capsys, "count", "einspace", "--max-nodes", 9, "--by-size").splitlines()
    assert sum(int(line.split()[1]) for line in lines) == 255


def test_a_space_without_end_needs_a_number_of_nodes(capsys, tmp_path):
    path = tmp_path / "own.grammar"
    path.write_text(
        "space own : image[8, 8, 8] -> classes[2]\n"
        "net -> module global_pool classifier(classes)\nmodule -> eca | residual(module)\n"
    )
    assert main(["spaces", "count", str(path)]) == 2
    assert "say up to how many nodes" in capsys.readouterr().err
    assert main(["spaces", "count", str(path), "--by-size"]) == 2
    assert "--by-size needs --max-nodes" in capsys.readouterr().err


def test_samples_lie_within_what_was_asked(capsys):
    grammar = load_space("einspace")
    asked = ("sample", "einspace", "-n", 5, "--nodes", "9..40", "--params", "10000..400000")
    for text in said(capsys, *asked).splitlines():
        root = from_text(text)
        check(grammar, root)
        assert 9 <= table_of(grammar).nodes(root) <= 40
        assert 10_000 <= parameters(root, grammar.input) <= 400_000
    for text in said(capsys, "sample", "einspace", "-n", 5, "--uniform", 9).splitlines():
        assert table_of(grammar).nodes(from_text(text)) <= 9


def test_the_same_seed_samples_the_same(capsys):
    asked = ("sample", "einspace", "-n", 4, "--seed", 7)
    assert said(capsys, *asked) == said(capsys, *asked)
