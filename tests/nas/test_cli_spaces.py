"""`nas spaces show`: what they print, and how they end."""

import json

import pytest
from small_space import TEXT

from nas.cli import main
from searchspace.read import read_grammar
from searchspace.space import space_names


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "small.grammar").write_text(TEXT)


def printed(capsys, *arguments):
    """What a command that must end well prints to standard output."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_show_prints_rules_domains_and_probabilities(capsys):
    words = " ".join(printed(capsys, "spaces", "show", "small.grammar").split())
    assert "input image[3, 32, 32] classes 10 rules 6, 4 of them blocks" in words
    assert "width 8 | 16 | 24 | 32 4" in words
    assert "stem(w) yes strided_conv(w, 2) layer_norm" in words
    assert "with w1, w2 : width where w1 <= w2" in words
    assert words.count("33.3%") == 3
    assert "space small :" not in words


def test_show_prints_the_file_itself_when_asked(capsys):
    assert printed(capsys, "spaces", "show", "small.grammar", "--text").endswith(TEXT)


def test_show_as_json_holds_what_the_file_says(capsys):
    found = json.loads(printed(capsys, "spaces", "show", "small.grammar", "--json", "--text"))
    assert (found["format"], found["version"], found["space"]) == ("nas-space", 1, "small")
    assert found["input"] == {"mode": "image", "shape": [3, 32, 32]}
    assert (found["classes"], found["start"], found["text"]) == (10, "network", TEXT)
    domains = {domain["name"]: domain["values"] for domain in found["domains"]}
    assert domains == {d.name: list(d.values) for d in read_grammar(TEXT).domains.values()}
    rules = {rule["name"]: rule for rule in found["rules"]}
    assert [name for name, rule in rules.items() if rule["is_block"]] == [
        "stem",
        "down",
        "head",
        "block",
    ]
    (network,) = rules["network"]["alternatives"]
    assert network == {
        "probability": 1.0,
        "items": "stem(w1) stage down(w2) stage head",
        "with": "w1, w2 : width",
        "where": "w1 <= w2",
        "draws": ["width", "width"],
    }
    first = rules["block"]["alternatives"][0]
    assert first["draws"] == ["kernel", "ratio", "act"], "where they stand, within the residual"
    assert rules["stage"]["alternatives"][0]["draws"] == ["depth"]


@pytest.mark.parametrize("name", space_names())
def test_every_shipped_space_is_shown(name, capsys):
    assert name in printed(capsys, "spaces", "show", name)
    found = json.loads(printed(capsys, "spaces", "show", name, "--json"))
    for rule in found["rules"]:
        assert sum(a["probability"] for a in rule["alternatives"]) == pytest.approx(1)
