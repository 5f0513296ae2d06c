"""`nas kernels`: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import math

import command_line
import pytest
import torch

from kernels import check_process
from kernels.check import Error, Outcome
from kernels.check_process import CheckProcessError, Start
from kernels.toolchain import import_triton

pytest.importorskip("triton", reason="Triton has wheels for Linux only")


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COLUMNS", "100")
        yield


def call(capsys, *arguments):
    return command_line.call(capsys, "kernels", *arguments)


INSPECT = ("inspect", "depthwise_conv", "--shape", "1x64x14x14", "--kernel", "3")


def test_inspect_shows_resources_against_limits(capsys):
    code, out, _ = call(capsys, *INSPECT, "--target", "a100")
    assert code == 0
    assert "depthwise_conv 1x64x14x14 fp16, kernel 3" in out
    assert "on a100, sm_80" in out
    for row in ("registers a thread", "spills", "warps an SM", "limited by", "multiply-add"):
        assert row in out
    line = next(line for line in out.splitlines() if "registers a thread" in line)
    forward, input_grad, weight_grad, limit = map(int, line.split()[3:])
    assert max(forward, input_grad, weight_grad) <= limit == 255


def test_inspect_as_json(capsys):
    code, out, err = call(capsys, *INSPECT, "--target", "sm_80", "--json")
    found = json.loads(out)
    assert (code, err, found["format"]) == (0, "", "nas-kernel-inspection")
    assert (found["architecture"], found["dtype"], found["shape"]) == (
        "sm_80",
        "fp16",
        [1, 64, 14, 14],
    )
    assert found["settings"]["kernel"] == 3
    assert found["limits"] == {"blocks": 32, "warps": 64, "shared_bytes": 164 * 1024}
    assert [kernel["role"] for kernel in found["kernels"]] == [
        "forward",
        "input_grad",
        "weight_grad",
    ]
    for kernel in found["kernels"]:
        assert (kernel["spills"], kernel["stack_bytes"]) == (0, 0)
        assert 0 < kernel["occupancy"]["share"] <= 1
    # A loop of few taps may be written out: then there is no iteration.
    iterations = [kernel["iteration"] for kernel in found["kernels"] if kernel["iteration"]]
    assert iterations
    for iteration in iterations:
        assert iteration["size"] == sum(iteration["mix"].values())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("inspect", "nothing", "--target", "a100"), 2, "an operation must be one of depthwise"),
        (("inspect", "depthwise_conv", "--target", "v100"), 2, "got 'v100', which is sm_70"),
        (("inspect", "depthwise_conv", "--target", "sm_999"), 2, "kernels are compiled for sm_80"),
        (("inspect", "depthwise_conv", "--target", "a10O"), 2, "or an architecture such as sm_90"),
        ((*INSPECT, "--target", "a100", "--set", "stride"), 2, "a setting is NAME=VALUE"),
        ((*INSPECT, "--target", "a100", "--dtype", "half"), 2, "--dtype must be one of fp32"),
        ((*INSPECT, "--target", "a100", "--dtype", "int8"), 1, "must be fp32, fp16, bf16"),
        ((*INSPECT, "--target", "a100", "--kernel", "4"), 1, "must be odd from 1 to 31"),
        ((*INSPECT, "--target", "a100", "--shape", "1x2"), 1, "must be BxCxHxW"),
        ((*INSPECT, "--target", "a100", "--shape", "0x2x2x2"), 1, "of at least 1; got 0x2x2x2"),
        ((*INSPECT, "--target", "a100", "--shape", "axb"), 2, "a shape is sizes with x between"),
        ((*INSPECT, "--target", "a100", "--set", "steps=2"), 1, "settings of depthwise_conv are"),
        ((*INSPECT, "--target", "a100", "--set", "stride=two"), 1, "stride must be an integer"),
        (("check", "--only", "nothing"), 2, "an operation must be one of depthwise_conv"),
        (("table", "--only", "nothing"), 2, "an operation must be one of depthwise_conv"),
        ((), 2, "required: ACTION"),
    ],
)
def test_faults_are_one_sentence(capsys, arguments, code, message):
    got, out, err = call(capsys, *arguments)
    assert (got, out) == (code, "")
    assert err.startswith("nas: ")
    assert message in err
    assert err.count("\n") == 1


OUTCOME = {"operation": "some_op", "case": "odd", "why": "a size of 7", "seconds": 0.5}
START = Start(total=2, device="a device", torch_version="2", triton_version="3")
GOOD = Outcome(
    **OUTCOME,
    dtype="float32",
    errors=(Error(result="output", largest=1e-7, used=0.25),),
    fault=None,
)


def say(monkeypatch, *items):
    def run_checks(names, *, interpreted):
        yield from items

    monkeypatch.setattr(check_process, "run_checks", run_checks)


def test_check_that_passes(capsys, monkeypatch):
    say(monkeypatch, START, GOOD)
    code, out, _ = call(capsys, "check")
    assert code == 0
    assert "some_op" in out
    assert "1.0e-07" in out
    assert "25%" in out
    assert "all cases agree" in out


@pytest.mark.parametrize(
    ("errors", "fault", "message"),
    [
        ((Error(result="output", largest=0.5, used=9.0),), None, "output is off by 5.0e-01, 900%"),
        (
            (Error(result="gradient of x", largest=math.inf, used=math.inf),),
            None,
            "gradient of x has NaN or infinity in other places",
        ),
        ((), "CompilationError: at 3:4", "CompilationError: at 3:4"),
    ],
)
def test_check_that_fails_names_the_case(capsys, monkeypatch, errors, fault, message):
    bad = Outcome(**OUTCOME, dtype="float16", errors=errors, fault=fault)
    say(monkeypatch, START, GOOD, bad)
    monkeypatch.setenv("COLUMNS", "300")
    code, out, _ = call(capsys, "check")
    assert code == 1
    assert f"failed: some_op, odd (a size of 7), float16: {message}" in out
    assert "1 of 2 cases fail" in out
    code, out, _ = call(capsys, "check", "--json")
    found = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (code, found["passed"], len(found["outcomes"])) == (1, False, 2)
    assert [outcome["passed"] for outcome in found["outcomes"]] == [True, False]


def test_a_process_that_dies_is_a_fault(capsys, monkeypatch):
    def run_checks(names, *, interpreted):
        yield START
        raise CheckProcessError("the process that checks kernels ended with code -11")

    monkeypatch.setattr(check_process, "run_checks", run_checks)
    code, _, err = call(capsys, "check")
    assert code == 1
    assert "nas: the process that checks kernels ended with code -11" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="the interpreter is meant")
def test_check_in_the_interpreter(capsys):
    code, out, _ = call(capsys, "check", "--only", "elementwise", "--json")
    found = json.loads(out)
    assert (code, found["passed"]) == (0, True)
    assert found["device"] == check_process.INTERPRETER
    assert {outcome["operation"] for outcome in found["outcomes"]} == {"elementwise"}


def test_table_has_a_row_a_kernel_and_target(capsys):
    code, out, _ = call(capsys, "table", "--only", "elementwise", "--target", "sm_80", "--json")
    rows = json.loads(out)["kernels"]
    assert code == 0
    assert {row["target"] for row in rows} == {"sm_80"}
    assert all(row["spills"] == 0 and row["registers"] <= 255 for row in rows)
    code, out, _ = call(capsys, "table", "--only", "elementwise", "--target", "sm_80")
    assert code == 0
    assert "forward" in out


def test_table_as_markdown_has_a_row_an_operation(capsys):
    arguments = ("--only", "elementwise", "--only", "fp8_gemm", "--target", "sm_80", "--markdown")
    code, out, _ = call(capsys, "table", *arguments)
    (row,) = [line for line in out.splitlines() if line.startswith("| `elementwise` | sm_80 |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert (code, cells[4]) == (0, "0")
    assert 0 < int(cells[3].split("-")[0]) <= 255
    assert (
        f"4 kernels for sm_80, compiled by Triton {import_triton().__version__}. None spills."
        in " ".join(out.split())
    )
    assert "fp8_gemm" not in out  # sm_80 has no such arithmetic
