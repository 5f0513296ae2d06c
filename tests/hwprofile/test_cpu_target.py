"""This machine's CPU as a target: what it measures, keeps, prices and refuses."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from dataclasses import replace
from itertools import islice

import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from hwprofile import cpu_measure, cpu_networks
from hwprofile.clock import Timing
from hwprofile.cpu_grid import calls_of_usual_layers, routine, take_turns, work_of
from hwprofile.cpu_measure import finish_cpu, measure_cpu, plan_cpu
from hwprofile.cpu_model import fit_model
from hwprofile.cpu_table import (
    CallRow,
    CpuProfile,
    network_call,
    read_cpu_profile,
    write_cpu_profile,
)
from hwprofile.cpu_target import cpu_target
from hwprofile.library_calls import library_call
from hwprofile.machine import machine_of
from hwprofile.profile_place import profile_path
from hwprofile.profile_table import NoProfileError, ProfileError
from hwprofile.profiled_networks import profiled_networks
from hwprofile.replay import calls_of
from hwprofile.runtime import RUNTIMES, launches
from hwprofile.targets import get_target
from hwprofile.trace import trace

HERE = machine_of(torch.device("cpu"))
RATE_MS = 1e-6
NETWORKS = ("basic", "inverted", "gated", "attention", "nasbench201 0", "einspace 4")
CALLS = calls_of_usual_layers(layers=80, seed=1)


def timing(ms):
    return Timing(repeats=5, min_ms=ms, q20_ms=ms, q50_ms=ms, q80_ms=ms, cpu_ms=ms)


def made_up():
    """Rows of a CPU whose calls take 10 us and the same for each multiply-add or element."""
    rows = []
    for runtime, scheme in cpu_measure.SHARES:
        for call in CALLS:
            made = call if runtime == "cpu-eager" else library_call(call)
            if made is not None:
                time = timing(0.01 + RATE_MS * work_of(made))
                rows.append(CallRow(runtime=runtime, scheme=scheme, call=made, timing=time))
    return CpuProfile(machine=HERE, rows=tuple(rows), facts={"finished": "today", "seconds": 1})


@pytest.fixture(scope="module")
def profile():
    return made_up()


@pytest.fixture
def place(tmp_path, monkeypatch, profile):
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path))
    path = profile_path(HERE)
    write_cpu_profile(profile, path)
    return path


@pytest.mark.parametrize("runtime", ["cpu-eager", "cpu-inductor"])
def test_a_network_is_priced_from_the_rows(place, runtime):
    target = get_target("cpu", runtime=runtime)
    network = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU())
    record = trace(network, (1, 32, 28, 28), layout=target.runtime.layout)
    kernels = launches(record, target.runtime, "fp32")
    prices = target.price_all(kernels)
    expected = RATE_MS * record.macs
    assert sum(price.value for price in prices) == pytest.approx(expected, rel=0.25)
    for price, kernel in zip(prices, kernels, strict=True):
        assert 0 < price.low <= price.value <= price.high < math.inf
        assert target.price(kernel) == price
    assert pickle.loads(pickle.dumps(target)).price_all(kernels) == prices
    said = target.describe()
    assert HERE.device in said
    assert "measured rows" in said


def test_a_scheme_that_was_not_measured_is_refused(place):
    target = get_target("cpu")
    record = trace(nn.ReLU(), (1, 3, 4, 4), layout="nchw")
    (kernel,) = launches(record, target.runtime, "fp32")
    with pytest.raises(ValueError, match="fp32 or bf16; got 'w8a8'"):
        target.price(replace(kernel, scheme="w8a8"))


def test_the_fit_is_kept_beside_the_profile(place, monkeypatch):
    first = cpu_target(runtime=RUNTIMES["cpu-eager"], coverage=0.9)
    monkeypatch.setattr("hwprofile.cpu_model.fit_model", None)  # is not fitted again
    again = cpu_target(runtime=RUNTIMES["cpu-eager"], coverage=0.9)
    assert again.describe() == first.describe()


def test_without_a_profile_the_cure_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path))
    with pytest.raises(NoProfileError, match="nas profile --target cpu --yes"):
        get_target("cpu")


@pytest.mark.parametrize("wrong", [math.nan, -1.0, 0.0])
def test_times_that_are_none_are_refused(place, profile, wrong):
    rows = (replace(profile.rows[0], timing=timing(wrong)), *profile.rows[1:])
    write_cpu_profile(replace(profile, rows=rows), place)
    with pytest.raises(ProfileError, match="row 1: min_ms must be a time above 0 ms"):
        get_target("cpu")


def test_another_machine_and_other_tables_are_refused(place, profile):
    write_cpu_profile(replace(profile, machine=replace(HERE, torch="2.0.0")), place)
    with pytest.raises(ProfileError, match=r"torch 2\.0\.0 instead of"):
        get_target("cpu")
    table = pq.read_table(place).drop_columns(["call"])
    pq.write_table(table, place)
    with pytest.raises(ProfileError, match="needs the columns call"):
        read_cpu_profile(place)


def test_the_table_reads_back(place, profile):
    assert read_cpu_profile(place, HERE) == profile


@pytest.fixture
def few_calls(monkeypatch):
    with torch.device("meta"):
        block = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
        calls = calls_of(block, [torch.empty(1, 3, 9, 9)])
    monkeypatch.setattr(cpu_measure, "calls_of_spaces", lambda **_: calls)
    monkeypatch.setattr(cpu_measure, "calls_of_usual_layers", lambda **_: calls)
    shape = (1, 3, 9, 9)
    tiny = {
        "one": lambda: (nn.Conv2d(3, 8, 3).eval(), shape),
        "two": lambda: (nn.Conv2d(3, 4, 5).eval(), shape),
    }
    monkeypatch.setattr(cpu_networks, "profiled_networks", lambda: tiny)
    return calls


def test_a_stopped_profile_goes_on_where_it_was(tmp_path, few_calls, monkeypatch):
    out = tmp_path / "cpu.parquet"
    part = plan_cpu(out, HERE)
    assert len(part.items) == 2 * (3 + 1)  # three calls, one of a library, in two precisions
    (step,) = islice(measure_cpu(part, seconds=60), 1)
    assert step.rows == 2 + 3  # two networks and three calls
    monkeypatch.setattr(cpu_measure, "calls_of_spaces", None)  # drawn once, then known
    again = plan_cpu(out, HERE)
    assert (again.done, again.rows) == (part.done, part.rows)
    assert list(measure_cpu(again, seconds=60))[-1].rows == 8 + 4  # the networks again at last
    profile = finish_cpu(again, out)
    whole = Counter(row.network for row in profile.rows if row.network)
    assert whole == {"one": 2, "two": 2}
    assert read_cpu_profile(out, HERE) == profile
    assert {(row.runtime, row.scheme) for row in profile.rows} == set(cpu_measure.SHARES)
    assert list(tmp_path.iterdir()) == [out]


def test_small_calls_of_every_function_come_first():
    calls = take_turns(CALLS, seed=0)
    assert len(set(calls)) == len(calls)
    first = {}
    for call in calls:
        first.setdefault(routine(call), call)
    for kind, call in first.items():
        assert work_of(call) == min(work_of(c) for c in calls if routine(c) == kind)


def networks_that_take(profile, shares):
    """A profile with some whole networks at moments when they take shares of their calls' sum."""
    runtime = RUNTIMES["cpu-eager"]
    model, rows = fit_model(profile, runtime), []
    for name in NETWORKS:
        with torch.device("meta"):
            record = trace(*profiled_networks()[name](), layout=runtime.layout)
        time = float(model(launches(record, runtime, "fp32"), "fp32").sum())
        call, run = network_call(name), {"runtime": runtime.name, "scheme": "fp32"}
        rows += [CallRow(call=call, timing=timing(share * time), **run) for share in shares]
    return replace(profile, rows=(*profile.rows, *rows))


def test_networks_measured_whole_correct_the_sums(tmp_path, monkeypatch, profile):
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path))
    whole = networks_that_take(profile, (0.72, 0.8, 0.88))
    write_cpu_profile(whole, profile_path(HERE))
    target = get_target("cpu")
    found = target.model.networks["fp32"]
    assert found.networks == len(NETWORKS)
    assert found.low < 0.91, "the range knows how the machine changes"
    assert found.high > 1.09
    network = nn.Sequential(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2))
    record = trace(network, (1, 32, 28, 28), layout=target.runtime.layout)
    for kernel in launches(record, target.runtime, "fp32"):
        assert target.price(kernel).value == pytest.approx(0.8 * target.alone(kernel).value, 0.02)
    assert "networks measured whole" in target.describe()


def test_a_moment_shared_with_another_job_does_not_count(profile):
    quiet = fit_model(networks_that_take(profile, (0.8, 0.9)), RUNTIMES["cpu-eager"])
    busy = fit_model(networks_that_take(profile, (0.8, 0.9, 9.0)), RUNTIMES["cpu-eager"])
    assert busy.networks == quiet.networks


def test_every_run_has_calls_however_short_the_time(tmp_path, few_calls):
    part = plan_cpu(tmp_path / "cpu.parquet", HERE)
    list(measure_cpu(part, seconds=1e-6))
    measured = {(row.runtime, row.scheme) for row in part.rows if row.network is None}
    assert measured == set(cpu_measure.SHARES)


def test_a_profile_without_calls_of_the_runtime_is_refused(profile):
    eager = tuple(row for row in profile.rows if row.runtime == "cpu-eager")
    compiled = tuple(row for row in profile.rows if row.runtime == "cpu-inductor")
    with pytest.raises(ProfileError, match="needs calls of cpu-eager; this one has none"):
        fit_model(replace(profile, rows=compiled), RUNTIMES["cpu-eager"])
    with pytest.raises(ProfileError, match="calls of cpu-inductor and of cpu-eager"):
        fit_model(replace(profile, rows=compiled), RUNTIMES["cpu-inductor"])
    with pytest.raises(
        ProfileError, match="calls of cpu-inductor and of cpu-eager; this one has none"
    ):
        fit_model(replace(profile, rows=eager), RUNTIMES["cpu-inductor"])
