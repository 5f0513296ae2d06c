"""`nas search --strategy solve`, from the command line to the certificate."""

import json

import pytest

from nas.cli import main

TEXT = """
space tiny : image[3, 32, 32] -> classes[10]
domain width  = 16 .. 64 step 16
domain kernel = 3 | 5
domain depth  = 1 .. 3
network -> stem(a) stage down(b) stage head with a, b : width where a <= b
stem(w) is block -> strided_conv(w, 2) batch_norm
down(w) is block -> strided_conv(w, 2) batch_norm
head is block    -> global_pool layer_norm classifier(classes)
stage            -> body ^ depth
body is block    -> residual(depthwise(kernel) layer_norm inverted(2, gelu))
"""


@pytest.fixture
def arguments(tmp_path):
    (tmp_path / "tiny.grammar").write_text(TEXT)
    space = str(tmp_path / "tiny.grammar")
    return ["search", "--space", space, "--max-params", "100K", "--max-effectiveness", "2",
            "--strategy", "solve", "--out", str(tmp_path / "run"), "--json"]  # fmt: skip


def test_the_result_has_the_certificate_and_a_resumed_run_keeps_it(
    arguments, tmp_path, capsys, monkeypatch
):
    assert main([*arguments, "--budget", "1ms"]) == 0
    found = capsys.readouterr()
    outcome = json.loads(found.out)
    proof = outcome["certificate"]
    assert outcome["best"]["score"] == pytest.approx(proof["score"])
    assert outcome["best"]["params"] <= 100_000
    assert proof["score"] <= proof["bound"] <= proof["score"] * 1.0101
    assert "proven to be at most" in found.err
    assert [use["name"] for use in proof["uses"]] == ["high_ms", "params"]

    def never(*_):
        raise AssertionError("what is solved is not solved again")

    monkeypatch.setattr("nas.solver.design.certify", never)
    (tmp_path / "run" / "result.json").unlink()
    assert main(["resume", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == outcome


def test_bounds_that_conflict_are_named_and_no_run_is_left(arguments, tmp_path, capsys):
    assert main([*arguments, "--budget", "1us"]) == 1
    said = capsys.readouterr().err
    assert "raise high_ms to" in said
    assert not (tmp_path / "run").exists()
