"""What people and programs are told of a run and of a prediction."""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from small_space import config, grammar_of, parts_of
from strategies import drawn, shipped_architectures

from nas.objectives import LATENCY, SCORE
from nas.report.architecture import architecture_table, describe, scheme_line
from nas.report.prediction import prediction_tables
from nas.report.result import design, result
from nas.report.tables import front_table
from nas.trial import Trial
from searchspace.text import from_text
from searchspace.tree import units


def shown(*renderables, width=160):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for renderable in renderables:
        console.print(renderable)
    return console.export_text()


def trial(number, score=100.0, latency=1.0, **more):
    values = {
        "score": score,
        "latency_ms": latency,
        "low_ms": 0.9 * latency,
        "high_ms": 1.1 * latency,
        "macs": 4.2e9,
        "params": 11_700_000,
        "peak_bytes": 3 * 2**20,
        "effectiveness": 0.25,
        **more,
    }
    architecture = drawn(grammar_of(), number)
    return Trial(number=number, architecture=architecture, status="feasible", values=values)


def outcome(count, **more):
    front = tuple(trial(i, 1000.0 - i, 5.0 - i / 10, **more) for i in range(count))
    return result(Path("runs/x"), front[0], front)


def test_a_design_has_whole_counts_and_only_what_was_found():
    found = design(trial(1))
    assert found["macs"] == 4_200_000_000
    assert {type(found[name]) for name in ("macs", "params", "peak_bytes")} == {int}
    assert "accuracy" not in found
    assert design(trial(1, accuracy=0.5), {"test_accuracy": 0.25})["test_accuracy"] == 0.25
    bare = Trial(number=0, architecture=drawn(grammar_of(), 0), status="failed")
    assert set(design(bare)) == {"architecture", "key"}


def test_a_result_names_what_was_found_of_the_chosen_alone_there_alone():
    front = (trial(1), trial(2))
    found = result(Path("runs/x"), front[0], front, extra={"test_accuracy": 0.75})
    assert found["best"]["test_accuracy"] == 0.75
    assert all("test_accuracy" not in row for row in found["front"])
    assert [row["key"] for row in found["front"]] == [t.architecture.key for t in front]


def test_the_table_of_a_front_marks_the_chosen_and_writes_its_figures():
    text = shown(front_table(outcome(3)))
    rows = [line for line in text.splitlines() if "11.7M" in line]
    assert len(rows) == 3
    (chosen,) = [row for row in rows if "→" in row]
    for figure in ("1,000.0", "5.000", "4.500–5.500", "4.2G", "3MiB"):
        assert figure in chosen
    assert outcome(3)["best"]["key"] in chosen


def test_with_data_the_accuracy_stands_in_the_table():
    text = shown(front_table(outcome(2, accuracy=0.9312)))
    assert "accuracy" in text
    assert "93.12%" in text


@pytest.mark.parametrize("count", [1, 12, 13, 40, 200])
def test_a_long_front_is_thinned_to_a_dozen_with_its_ends(count):
    found = outcome(count)
    text = shown(front_table(found))
    rows = [line for line in text.splitlines() if "11.7M" in line]
    assert len(rows) == min(count, 12)
    assert found["front"][0]["key"] in rows[0]
    assert found["front"][-1]["key"] in rows[-1]
    assert (f"12 of {count} designs" in text) == (count > 12)


@given(st.integers(0, 39))
@settings(max_examples=8)
def test_the_chosen_design_is_never_thinned_out(place):
    found = outcome(40)
    found["best"] = found["front"][place]
    text = shown(front_table(found))
    (chosen,) = [line for line in text.splitlines() if "→" in line]
    assert found["best"]["key"] in chosen


@given(shipped_architectures())
@settings(max_examples=10)
def test_every_block_of_every_part_is_counted(architecture):
    root = from_text(architecture.text)
    text = shown(architecture_table(architecture.text), width=400)
    counts = [int(line.split(" ×")[0].split()[-1]) for line in text.splitlines() if " ×" in line]
    assert sum(counts) == sum(1 for _ in units(root))
    assert sum(counts) >= len(root.flat())


@given(shipped_architectures())
@settings(max_examples=10)
def test_the_line_of_precision_counts_every_block_once(architecture):
    line = scheme_line(architecture.text)
    found = Counter()
    for count, scheme in re.findall(r"(\d+) (float|w8a8)", line):
        found[scheme] += int(count)
    blocks = Counter(node.scheme for _, node in units(architecture.root))
    assert found == (blocks if blocks["w8a8"] else Counter())


def test_the_line_of_precision_by_hand():
    text = (
        "n:0[s:0[b:0@w8a8[eca] b:0@float[eca] b:0@w8a8[eca]]; h:0@float[eca]; s:0[b:0@w8a8[eca]]]"
    )
    assert scheme_line(text) == "precision by blocks: s1 1 float + 2 w8a8, h 1 float, s2 1 w8a8"
    assert scheme_line(text.replace("w8a8", "float")) == ""


def test_a_block_in_a_line():
    root = from_text(
        "n:0[b:0@w8a8[residual[depthwise(7) layer_norm]; plain(gelu)]; c:1@float[eca]]"
    )
    first, second = root.flat()
    assert describe(first) == "residual(depthwise(7) layer_norm) plain(gelu) @w8a8"
    assert describe(second) == "eca"


def _prediction(network="net", kernels=3):
    row = {
        "op": "gemm",
        "scheme": "fp16",
        "m": 128,
        "n": 64,
        "k": 32,
        "groups": 1,
        "detail": "linear+gelu",
    }
    rows = [
        row | {"latency_ms": 0.001 * (i + 1), "low_ms": 0.0, "high_ms": 1.0, "path": f"layer{i}."}
        for i in range(kernels)
    ]
    totals = {"macs": 4.2e9, "params": 1e6, "peak_bytes": 2**20, "weight_bytes": 2**19}
    totals["runtime"] = "cuda-graph"
    total = sum(row["latency_ms"] for row in rows)
    return {
        "network": network,
        "target": "a100",
        "batch": 2,
        "inputs": [[2, 3, 32, 32]],
        "coverage": 0.9,
        "device_ms": total,
        "host_ms": 0.0,
        "bound_by": "device",
        "energy_mj": 20.0,
        "energy_low_mj": 5.0,
        "energy_high_mj": 60.0,
        "without_rule": [],
        "precision": "fp16",
        "latency_ms": total,
        "low_ms": 0.0,
        "high_ms": 3.0,
        "kernels": rows,
        **totals,
    }


def test_what_a_prediction_is_unsure_of_is_said():
    unsure = {"bound_by": "host", "host_ms": 3.0, "without_rule": ["fft_fft2"]}
    text = shown(*prediction_tables({**_prediction(), **unsure}))
    assert "the host's dispatch" in text
    assert "fft_fft2: by bytes and operations" in text


def test_energy_is_shown_with_its_range_where_there_is_any():
    said = "20 mJ, range 5 to 60 mJ, from published power figures alone"
    assert said in shown(*prediction_tables(_prediction()))
    none = dict.fromkeys(("energy_mj", "energy_low_mj", "energy_high_mj"))
    assert "energy" not in shown(*prediction_tables({**_prediction(), **none}))


def test_the_tables_of_a_prediction():
    text = shown(*prediction_tables(_prediction()))
    for piece in ("net on a100", "0.006 ms", "2x3x32x32", "4.2G", "100.0%", "128 x 64 x 32"):
        assert piece in text
    places = [text.index(f"layer{i}.") for i in range(3)]
    assert places == sorted(places, reverse=True), "the costliest kernel stands first"


def test_only_the_costliest_of_many_kernels_are_listed():
    text = shown(*prediction_tables(_prediction(kernels=60)))
    assert "the 25 costliest of 60 distinct kernels" in text
    assert "layer59." in text
    assert "layer34." not in text


def test_equal_launches_are_one_line_that_counts_them_and_stands_where_all_cost():
    prediction = _prediction(kernels=2)
    dear, cheap = prediction["kernels"][1], prediction["kernels"][0]
    again = [cheap | {"path": f"again{i}."} for i in range(2)]
    text = shown(*prediction_tables({**prediction, "kernels": [dear, cheap, *again]}))
    assert "again" not in text
    lines = [line.split("│") for line in text.splitlines() if "layer" in line]
    counts = [(cells[1].strip(), cells[4].strip()) for cells in lines]
    assert counts == [("layer0.", "3"), ("layer1.", "1")], "three of 1 us before one of 2"


@pytest.mark.parametrize("network", ["runs/[bold]x/best", "[/red]", "a[0]:net"])
def test_a_name_with_brackets_is_shown_as_it_is(network):
    assert network in shown(*prediction_tables(_prediction(network)))


def test_a_prediction_without_kernels_is_shown_too():
    assert "0.000 ms" in shown(*prediction_tables(_prediction(kernels=0)))


def test_the_objectives_that_a_run_states():
    assert parts_of(config()).objectives == (SCORE, LATENCY)
    assert SCORE.loss(3.0) == -LATENCY.loss(3.0) == -3.0
    assert [o.name for o in parts_of(config(data="digits")).objectives] == [
        "accuracy",
        "latency_ms",
    ]
    assert trial(0).losses((SCORE, LATENCY)) == (-100.0, 1.0)
