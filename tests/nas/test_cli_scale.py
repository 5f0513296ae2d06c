"""`nas scale`: what it prints, writes and refuses."""

import json

import pytest
from command_line import call

from nas.export.folder import read_architecture
from searchspace.check import check
from searchspace.space import load_space
from searchspace.text import from_text

MY = """
space my : image[3, 32, 32] -> classes[10]
domain width = 16 .. 256 step 8
domain depth = 1 .. 8
network -> stem(w) block(w) ^ depth head with w : width
stem(w) is block -> strided_conv(out: w, stride: 2) batch_norm
block(w) is block -> residual(depthwise(3) batch_norm inverted(2, relu))
head is block -> global_pool classifier(classes)
"""


@pytest.fixture(autouse=True)
def my_space(own_folder, tmp_path):
    (tmp_path / "my.grammar").write_text(MY)


def test_json_is_the_documented_object(capsys):
    arguments = ("scale", "resnet18", "--macs", "900M", "--target", "a100", "--json")
    code, out, err = call(capsys, *arguments)
    record = json.loads(out)
    assert code == 0
    assert (record["format"], record["version"]) == ("nas-scaling", 1)
    assert {"network", "space", "rule", "scale", "wanted", "target", "batch", "precision"} <= set(
        record
    )
    assert set(record["factors"]) == {"depth", "width", "resolution"}
    before, after, beyond = record["before"], record["after"], record["beyond"]
    assert after["macs"] <= 900e6 < min(beyond["macs"], before["macs"])
    assert after["low_ms"] <= after["latency_ms"] <= after["high_ms"]
    assert sum(stage["blocks"] for stage in before["stages"]) == before["depth"] == 10
    assert [stage["width"] for stage in before["stages"]] == [64, 128, 256, 512, 1000]
    check(load_space("conv_resnet"), from_text(after["architecture"]))
    assert "resolution" in err


def test_the_table_shows_both_networks(capsys):
    code, out, _ = call(capsys, "scale", "resnet18", "--macs", "3.6G")
    assert code == 0
    assert "1.81G" in out
    assert "64 128 256 512 1000" in out
    assert "next larger step" in out


def test_a_text_is_scaled_and_exported_for_other_commands(capsys, monkeypatch):
    _, text, _ = call(capsys, "spaces", "sample", "my.grammar", "--seed", 1)
    monkeypatch.setattr("sys.stdin", type("In", (), {"read": lambda self: text})())
    arguments = ("scale", "-", "--space", "my.grammar", "--params", "60k", "--out", "scaled")
    code, out, _ = call(capsys, *arguments)
    assert code == 0
    assert "exported" in out
    architecture, spec, facts = read_architecture("scaled")
    assert architecture.space == "my"
    assert facts["params"] <= 60_000
    check(load_space("my.grammar", spec=spec), architecture.root)
    code, out, _ = call(capsys, "predict", "scaled", "--target", "a100", "--json")
    assert code == 0
    assert json.loads(out)["macs"] == facts["macs"]
    code, _, err = call(capsys, "scale", "scaled", "--params", "30k")
    assert code == 2
    assert "no space 'my'" in err
    assert "--space FILE" in err


def test_a_run_with_quantized_blocks_keeps_its_schemes(capsys):
    _, text, _ = call(capsys, "spaces", "sample", "my.grammar", "--seed", 1)
    text = text.strip().replace("block:0@float", "block:0@w8a8")
    arguments = ("scale", text, "--space", "my.grammar", "--params", "60k", "--json")
    code, out, _ = call(capsys, *arguments)
    assert code == 0
    assert "block:0@w8a8" in json.loads(out)["after"]["architecture"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "say what the network may cost"),
        (["--budget", "1ms"], 2, "--budget needs the device"),
        (["--macs", "1G", "--batch", "8"], 2, "they need --target"),
        (["--macs", "1G", "--rule", "giant"], 2, "invalid choice: 'giant'"),
        (["--macs", "1G", "--rule", "tiny", "--alpha", "0.5"], 2, "--alpha is of the rule fast"),
        (["--macs", "1G", "--alpha", "2"], 2, "alpha is a number from 0 to 1; got '2'"),
        (["--macs", "0"], 2, "a count must be at least 1"),
        (["--macs", "9G", "--rule", "tiny"], 1, "only shrinks"),
        (["--macs", "1k"], 1, "no scale comes down to 1K MACs: the smallest has"),
    ],
)
def test_faults_are_one_sentence(capsys, arguments, code, message):
    ended, out, err = call(capsys, "scale", "resnet18", *arguments)
    assert (ended, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
