"""`nas search --strategy solve`, from the command line to the certificate."""

import json

import pytest
from solved_space import TEXT

from nas.cli import main
from nas.record import JOURNAL
from predictors.deepmad import deepmad
from predictors.structure import read_structure
from predictors.structure_cost import counts


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
    assert [use["name"] for use in proof["uses"]] == [
        "high_ms",
        "params",
        "effectiveness",
    ]
    assert len(proof["ranked"]) == 1
    assert proof["ranked"][0]["stages"] == outcome["best"]["stages"]
    assert "front" not in proof

    def never(*_):
        raise AssertionError("what is solved is not solved again")

    monkeypatch.setattr("nas.solver.design.certify", never)
    (tmp_path / "run" / "result.json").unlink()
    assert main(["resume", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == outcome


def test_a_front_and_ranked_designs_are_told_drawn_and_resumed(arguments, tmp_path, capsys):
    more = ["--budget", "1ms", "--front", "4", "--front-over", "params", "--designs", "2"]
    assert main([*arguments, *more]) == 0
    found = capsys.readouterr()
    outcome = json.loads(found.out)
    proof = outcome["certificate"]
    assert proof["front"]["name"] == "params"
    assert len(proof["front"]["points"]) == 4
    assert all(point["stages"] for point in proof["front"]["points"])
    assert len(proof["ranked"]) == 2
    # They are candidates of the run, which may have better ones for their latency.
    judged = (tmp_path / "run" / JOURNAL).read_text()
    assert all(point["key"] in judged for point in proof["front"]["points"])
    assert "The best designs that differ" in found.err
    assert "Front of score against parameters" in found.err
    picture = (tmp_path / "run" / "front.svg").read_text()
    (tmp_path / "run" / "front.svg").unlink()
    (tmp_path / "run" / "result.json").unlink()
    assert main(["resume", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == outcome
    assert (tmp_path / "run" / "front.svg").read_text() == picture


@pytest.mark.parametrize("solver", ["milp", "relax"])
def test_other_solvers_give_the_same_kinds_of_answers(solver, arguments, capsys):
    more = ["--solver", solver, "--solve-seconds", "8", "--front", "2", "--designs", "2"]
    assert main([*arguments, *more, "--front-over", "params", "--limit", "width=16..32"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    proof = outcome["certificate"]
    assert outcome["best"]["score"] == pytest.approx(proof["score"])
    assert len(proof["ranked"]) == 2
    assert all(point["score"] <= point["bound"] for point in proof["front"]["points"])


def test_bounds_that_conflict_are_named_and_no_run_is_left(arguments, tmp_path, capsys):
    assert main([*arguments, "--budget", "1us"]) == 1
    said = capsys.readouterr().err
    assert "raise high_ms to" in said
    assert not (tmp_path / "run").exists()


SUPER_BLOCKS = """
space deep : image[3, 32, 32] -> classes[10]
domain width  = 16 | 32
domain mid    = 8 | 16
domain kernel = 3 | 5
domain more   = 0 .. 2
network -> stem(a) super(b) super(c) head with a, b, c : width where a <= b <= c
stem(w) is block -> conv(w, 3, 2) batch_norm activation(relu)
super(b) -> first(b, m, k) again(b, m, k) ^ more with m : mid ; k : kernel
first(b, m, k) is block
    -> branch(add, within(b, m, k, 2), strided_average_pool(2, 2) conv(b, 1, 1) batch_norm)
       activation(relu)
again(b, m, k) is block -> branch(add, within(b, m, k, 1), identity) activation(relu)
within(b, m, k, s) -> conv(m, 1, 1) batch_norm activation(relu)
    conv(m, k, s) batch_norm activation(relu) conv(b, 1, 1) batch_norm
head is block -> global_pool classifier(classes)
"""


def test_the_structure_of_what_is_solved_gives_its_figures_again(arguments, tmp_path, capsys):
    (tmp_path / "tiny.grammar").write_text(SUPER_BLOCKS)
    assert main([*arguments, "--front", "2", "--designs", "2"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    proof = outcome["certificate"]
    designs = [outcome["best"], *outcome["front"], *proof["ranked"], *proof["front"]["points"]]
    for design in designs:
        structure, figures = read_structure(design["structure"]), design["structure_figures"]
        assert figures["resolution"] == 32
        cost, score = counts(structure, 32), deepmad(structure, 32, form="paper")
        assert (figures["params"], figures["flops"]) == (cost.params, cost.flops)
        assert figures["paper"]["score"] == pytest.approx(float(score.value))
        assert "needs 5 stages" in figures["toolbox"]["reason"]
        classifier = 10 * structure.parts[-1].out + 10
        assert sum(stage["params"] for stage in design["stages"]) == cost.params + classifier
