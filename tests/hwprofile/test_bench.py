"""Benchmarks: what is timed against what, and the limits that results are held against."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hwprofile.bench import Limits, attainable_ms, bench, limits_of, work
from hwprofile.clock import Timing
from hwprofile.machine import machine_of
from kernels.bench_problem import BenchProblem
from kernels.bench_problems import bench_problems

CPU = torch.device("cpu")
HERE = machine_of(CPU)
LIMITS = Limits(gbps=100.0, tflops={"fp32": 1.0, "fp16": 10.0, "int8": 20.0}, source="a test")


class FixedTimer:
    """Says how long each call takes."""

    def __init__(self, **times_ms):
        self.times_ms = times_ms

    def time(self, calls, seconds):
        for call in calls.values():
            call()
        times = {name: self.times_ms[name] for name in calls}
        return {
            name: Timing(repeats=3, min_ms=ms, q20_ms=ms, q50_ms=ms, q80_ms=ms)
            for name, ms in times.items()
        }


def problem(**changes):
    fields = {
        "operation": "gemm",
        "name": "small",
        "make": lambda generator, dtype, device: {"x": torch.ones(4, dtype=dtype)},
        "by_torch": lambda x: x + 1,
        "flops": 10**9,
        "elements": 10**6,
    }
    return BenchProblem(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "dtype", "expected_ms"),
    [
        ({}, "float16", 0.1),  # 1 GFLOP at 10 TFLOPS
        ({"cores": False}, "float16", 1.0),
        ({"rate": "int8"}, "float16", 0.05),
        ({"flops": 1}, "float16", 0.02),  # 2 MB at 100 GB/s
        ({"flops": 1}, "float32", 0.04),
        ({"flops": 1, "elements": 0, "bytes": 10**6}, "float16", 0.01),
    ],
)
def test_attainable_is_what_memory_or_arithmetic_allows(changes, dtype, expected_ms):
    assert attainable_ms(problem(**changes), dtype, LIMITS) == pytest.approx(expected_ms)


def test_providers_are_timed_on_the_same_task():
    (results,) = bench(
        [(problem(), "float32")],
        HERE,
        CPU,
        FixedTimer(eager=2.0),
        LIMITS,
        compiled=False,
    )
    (result,) = results
    assert (result.provider, result.dtype, result.intensity) == ("eager", "float32", 250.0)
    assert result.efficiency == pytest.approx(0.5)


def test_a_fault_is_told_and_costs_no_other():
    def fails(x):
        raise RuntimeError("no kernel\nfor this")

    tasks = [(problem(by_torch=fails), "float32"), (problem(), "float32")]
    (bad,), (good,) = bench(tasks, HERE, CPU, FixedTimer(eager=1.0), LIMITS, compiled=False)
    assert (bad.timing, bad.efficiency, bad.fault) == (None, None, "RuntimeError: no kernel")
    assert good.fault == ""


def test_a_cpu_runs_small_problems_in_float32():
    tasks = work(bench_problems(), HERE)
    assert {dtype for _, dtype in tasks} == {"float32"}
    assert not {"int8_gemm", "w4_gemm"} & {p.operation for p, _ in tasks}
    on_gpu = work(bench_problems(), replace(HERE, kind="cuda"))
    assert len(on_gpu) >= len(bench_problems()) > len(tasks)


@pytest.mark.parametrize(
    ("device", "instructions", "gbps"),
    [
        ("NVIDIA H200", "9.0", 4800),
        ("NVIDIA H100 80GB HBM3", "9.0", 3352),
        ("NVIDIA A100-SXM4-80GB", "8.0", 2039),
        ("NVIDIA A100-PCIE-40GB", "8.0", 1555),
        ("Tesla T4", "7.5", 320),
        ("NVIDIA GeForce RTX 3090", "8.6", 936),
    ],
)
def test_limits_of_known_devices_are_the_published_ones(device, instructions, gbps):
    machine = replace(HERE, kind="cuda", device=device, instructions=instructions)
    limits = limits_of(machine, CPU, FixedTimer())
    assert limits.gbps == gbps
    assert "measured" not in limits.source


def test_other_devices_are_measured_and_said_to_be():
    timer = FixedTimer(copy=1.0, fp32=1.0)
    limits = limits_of(HERE, CPU, timer)
    assert limits.gbps == pytest.approx(2 * 2**27 / 1e6)
    assert limits.tflops == {"fp32": pytest.approx(2 * 1024**3 / 1e9)}
    assert limits.source.startswith("measured here")
    board = replace(HERE, kind="cuda", device="NVIDIA H100 PCIe", instructions="9.0")
    assert limits_of(board, CPU, timer).source.startswith("measured here")
