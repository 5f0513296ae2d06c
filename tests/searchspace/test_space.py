import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from searchspace.build import flow
from searchspace.check import check
from searchspace.grammar import GrammarError
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.shapes import vector
from searchspace.space import UnknownSpaceError, load_space, space_names, space_text
from searchspace.text import from_text

_TEXT = "space own : image[3, 8, 8] -> classes[4]\nnet -> global_pool classifier(classes)\n"


@pytest.mark.parametrize("name", space_names())
def test_every_shipped_space_reads_under_its_own_name(name):
    assert load_space(name).name == name


def test_the_shipped_space_is_found():
    assert "conv_large_kernel" in space_names()
    grammar = load_space("conv_large_kernel")
    assert (str(grammar.input), grammar.classes) == ("image[3, 224, 224]", 1000)
    assert grammar.domains["width"].values == tuple(range(32, 1025, 16))


def test_a_file_is_found_by_its_path(tmp_path):
    path = tmp_path / "own.grammar"
    path.write_text(_TEXT)
    assert load_space(str(path)).name == "own"
    assert load_space(str(path), classes=7).classes == 7


def test_faults_name_the_file(tmp_path):
    path = tmp_path / "own.grammar"
    path.write_text(_TEXT + "more -> eca\n")
    with pytest.raises(GrammarError, match=r"^own\.grammar, line 3, column 1: "):
        load_space(str(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv_large_kernels", "no space 'conv_large_kernels'; did you mean 'conv_large_kernel'?"),
        (
            "zzz",
            f"no space 'zzz'; known: {', '.join(space_names())}; "
            "or give the path of a .grammar file",
        ),
        ("missing.grammar", "cannot read the grammar file missing.grammar: "),
        ("not/there", "cannot read the grammar file not/there: "),
    ],
)
def test_unknown_spaces_are_named_with_the_cure(name, message):
    with pytest.raises(UnknownSpaceError, match="^" + re.escape(message)):
        space_text(name)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "own.grammar"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnknownSpaceError, match="cannot read"):
        load_space(str(path))


def _worked_example() -> tuple[str, str]:
    """The grammar and the program at the end of the documentation of grammar files."""
    text = (Path(__file__).parents[2] / "docs" / "grammar.md").read_text("utf-8")
    (grammar,) = re.findall(r"^```grammar\n(.*?)^```", text, flags=re.M | re.S)
    (program,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
    return grammar, program


def test_the_documented_space_reads_samples_and_builds(tmp_path, monkeypatch, capsys):
    grammar, program = _worked_example()
    (tmp_path / "tiny.grammar").write_text(grammar)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(program, "docs/grammar.md", "exec"), names)
    assert names["logits"].shape == (2, 10)
    assert from_text(capsys.readouterr().out.split(maxsplit=1)[1]) == names["architecture"].root
    for seed in range(10):
        root = sample(names["grammar"], Random(seed)).root
        check(names["grammar"], root)
        assert flow(root, names["grammar"].input) == vector(10)


@pytest.mark.parametrize(
    ("snippet", "message"),
    [
        ("net -> a\na -> a eca\n", "never ends"),
        ("net -> residual(eca ^ 2)\n", "repeat inside an argument"),
        ("eca -> shift\n", "is a primitive"),
        ("domain n = 1\nnet -> eca ^ n with n : n\n", "has a meaning here already"),
        ("net -> f(3)\nf(a) -> g\ng -> eca ^ a\n", "no variable 'a' here"),
    ],
)
def test_what_the_documentation_forbids_is_refused(snippet, message):
    with pytest.raises(GrammarError, match=message):
        read_grammar(_TEXT.splitlines()[0] + "\n" + snippet)


def test_the_documented_order_of_meanings():
    grammar = read_grammar(
        "space own : image[8, 8, 8] -> classes[4]\n"
        "domain k = 3 | 5 | 7 | 9\n"
        "net -> f(11) residual(depthwise(k)) depthwise(k) global_pool classifier(classes)\n"
        "f(k) -> depthwise(k) depthwise(k)\n"
    )
    draws = set()
    for seed in range(30):
        f, residual, second, _, head = sample(grammar, Random(seed)).root.flat()
        assert [node.values for node in f.flat()] == [(11,), (11,)], "a parameter hides a domain"
        assert head.values == (4,)
        draws.add((residual.flat()[0].values, second.values))
    assert len(draws) > 6, "a domain is drawn anew where it stands"


def test_products_bind_closer_than_sums():
    grammar = read_grammar(
        "space own : image[8, 8, 8] -> classes[4]\ndomain k = 3\n"
        "net -> depthwise(1 + a * 2) depthwise(a * 3 - 2) depthwise(20 - a - 4) with a : k\n"
    )
    root = sample(grammar, Random(0)).root
    assert [node.values for node in root.flat()] == [(7,), (7,), (13,)]
