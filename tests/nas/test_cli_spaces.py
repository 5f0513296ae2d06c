"""`nas spaces show` and `nas spaces draw`: what they print, and how they end."""

import io
import json
from random import Random
from xml.etree import ElementTree

import pytest
from command_line import call, printed
from small_space import TEXT

from nas.export.folder import export
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.space import space_names

pytestmark = pytest.mark.usefixtures("own_folder")


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


def test_show_tells_limits_and_how_fast_recursion_branches(capsys, tmp_path):
    (tmp_path / "deep.grammar").write_text(
        "space deep : image[8, 8, 8] -> classes[2]\nlimit nodes <= 1000\nlimit elements <= 4096\n"
        "net -> a global_pool classifier(classes)\na -> 3 : eca | 1 : branch(add, a, a, a)\n"
    )
    words = " ".join(printed(capsys, "spaces", "show", "deep.grammar").split())
    assert "nodes at most 1,000 elements at most 4,096" in words
    assert "recursion branches at a rate of 0.75" in words
    found = json.loads(printed(capsys, "spaces", "show", "deep.grammar", "--json"))
    assert found["limits"] == {"nodes": 1000, "elements": 4096}
    assert found["branching_rate"] == pytest.approx(0.75)
    found = json.loads(printed(capsys, "spaces", "show", "small.grammar", "--json"))
    assert (found["limits"], found["branching_rate"]) == ({}, None)


@pytest.mark.parametrize("name", space_names())
def test_every_shipped_space_is_shown(name, capsys):
    assert name in printed(capsys, "spaces", "show", name)
    found = json.loads(printed(capsys, "spaces", "show", name, "--json"))
    for rule in found["rules"]:
        assert sum(a["probability"] for a in rule["alternatives"]) == pytest.approx(1)


# --- Draw ----------------------------------------------------------------------------------------

SMALL = read_grammar(TEXT)
DRAWN = sample(SMALL, Random(2))


def fault(capsys, *arguments):
    """Exit code and the one line of a command that ends in a fault, perhaps after the drawing."""
    code, out, err = call(capsys, *arguments)
    assert "Traceback" not in out + err
    assert err.count("\n") == 1
    return code, err


def test_draw_prints_the_parts_of_a_text(capsys):
    out = printed(capsys, "spaces", "draw", DRAWN.text, "--space", "small.grammar")
    assert out.startswith(f"small {DRAWN.key}  ")
    for part in ("stem", "stage1", "down", "stage2", "head", "classifier  classes 10"):
        assert f"─ {part}" in out


def test_draw_reads_the_text_from_standard_input(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(DRAWN.text + "\n"))
    assert DRAWN.key in printed(capsys, "spaces", "draw", "-", "--space", "small.grammar")


def test_draw_writes_the_picture(capsys, tmp_path):
    arguments = ("spaces", "draw", DRAWN.text, "--space", "small.grammar", "--svg", "a.svg")
    assert f"drew {DRAWN.key} to a.svg" in printed(capsys, *arguments)
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    words = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {f"small {DRAWN.key}", "stem", "classifier", "image[3, 32, 32]"} <= words


def test_draw_takes_exported_folders_and_files(capsys, tmp_path):
    export(DRAWN, SMALL.input, tmp_path / "out")
    folder = printed(capsys, "spaces", "draw", "out")
    assert folder == printed(capsys, "spaces", "draw", "out/architecture.json")
    assert folder == printed(capsys, "spaces", "draw", "out", "--space", "small.grammar")
    assert f"small {DRAWN.key}" in folder


def test_draw_knows_published_networks(capsys, tmp_path):
    out = printed(capsys, "spaces", "draw", "resnet18", "--svg", "a.svg")
    assert out.startswith("resnet18 · conv_resnet ")
    assert "11,689,512 parameters" in out
    assert "input image[3, 224, 224]" in out
    smaller = printed(capsys, "spaces", "draw", "resnet18", "--classes", 10, "--resolution", 64)
    assert f"{11_689_512 - 990 * 513:,} parameters" in smaller
    assert "input image[3, 64, 64]" in smaller
    code, line = fault(capsys, "spaces", "draw", "resnet18", "--space", "vit")
    assert (code, "of the space conv_resnet, not of vit" in line) == (2, True)


def test_draw_at_another_resolution_tells_other_shapes(capsys):
    arguments = ("spaces", "draw", DRAWN.text, "--space", "small.grammar")
    assert "input image[3, 64, 64]" in printed(capsys, *arguments, "--resolution", 64)
    code, line = fault(capsys, *arguments, "--classes", 7)
    assert (code, "the value must be 7; got 10" in line) == (1, True)


def test_draw_folds_equal_parts_unless_all_are_asked_for(capsys, tmp_path):
    (tmp_path / "row.grammar").write_text(
        "space row : image[3, 8, 8] -> classes[2]\n"
        "net -> a ^^ 3 global_pool classifier(classes)\na is block -> eca\n"
    )
    text = printed(capsys, "spaces", "sample", "row.grammar").strip()
    arguments = ("spaces", "draw", text, "--space", "row.grammar")
    assert printed(capsys, *arguments).count("eca") == 1
    assert "a × 3" in printed(capsys, *arguments)
    assert printed(capsys, *arguments, "--all").count("eca") == 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nothing"], 2, "no file or folder 'nothing'"),
        (["vit_b"], 2, "or a published network: resnet18, "),
        (["net:0[a]"], 2, "needs its space: --space NAME"),
        (["net:0[a", "--space", "vit"], 1, "must have ']' at character 8"),
        (["net:0[a]", "--space", "vit"], 1, "a tree of vit begins with 'network'; got 'net'"),
        (["net:0[a]", "--space", "none"], 2, "no space 'none'"),
        (["small.grammar"], 1, "small.grammar is damaged"),
        ([DRAWN.text, "--space", "conv_large_kernel"], 1, "at network"),
        ([DRAWN.text, "--space", "small.grammar", "--svg", "no/a.svg"], 1, "no/a.svg"),
        ([DRAWN.text, "--space", "small.grammar", "--resolution", "0"], 2, "at least 1"),
    ],
    ids=lambda value: value[0][:12] if isinstance(value, list) else "",
)
def test_what_cannot_be_drawn_is_told_in_one_line(arguments, code, said, capsys):
    found, line = fault(capsys, "spaces", "draw", *arguments)
    assert (found, said in line) == (code, True), line


def test_a_shape_that_does_not_fit_is_told_with_its_place(capsys, tmp_path):
    (tmp_path / "grouped.grammar").write_text(
        "space grouped : image[8, 8, 8] -> classes[2]\n"
        "net -> group_norm(g) global_pool classifier(classes) with g : n\ndomain n = 2 | 3\n"
    )
    text = "net:0(3)[group_norm(3); global_pool; classifier(2)]"
    code, line = fault(capsys, "spaces", "draw", text, "--space", "grouped.grammar")
    assert (code, "at net/group_norm" in line) == (1, True), line
