"""Profiles: what is measured in which order, interruptions, and what a reader refuses."""

import json
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch

from hwprofile import measure as measuring
from hwprofile.clock import CpuTimer, CudaTimer, Timing
from hwprofile.kernel_table import price_table
from hwprofile.layer import Layer
from hwprofile.layer_calls import kernel_call
from hwprofile.machine import machine_of
from hwprofile.measure import finish, measure, part_of, plan
from hwprofile.profile_table import Profile, ProfileError, Row, read_profile, write_profile
from hwprofile.targets import get_target

CPU = torch.device("cpu")
HERE = machine_of(CPU)
GPU = replace(HERE, kind="cuda", device="a board", threads=0, triton="3.9.0")
LAYERS = [Layer("gemm", (4, 8, 16)), Layer("relu", (4, 8)), Layer("global_avg_pool2d", (1, 4, 5))]


class CountingTimer:
    """Says that everything takes 1 ms."""

    def __init__(self):
        self.shapes = []

    def time(self, calls, seconds):
        self.shapes += [tuple(call().shape) for call in calls.values()]
        return {name: timing() for name in calls}


def timing(**changes):
    times = {"min_ms": 0.5, "q20_ms": 0.8, "q50_ms": 1.0, "q80_ms": 1.5, "cpu_ms": 0.5}
    return Timing(repeats=9, **{**times, **changes})


def row(**changes):
    fields = {"layer": LAYERS[0], "scheme": "fp32", "dtype": "float32", "backend": "torch"}
    return Row(**{**fields, "timing": timing(), **changes})


@pytest.fixture
def few_layers(monkeypatch):
    monkeypatch.setattr(measuring, "layers_of_spaces", lambda **_: LAYERS)


def test_an_interrupted_profile_goes_on_where_it_was(tmp_path, few_layers, monkeypatch):
    out = tmp_path / "p.parquet"
    part = plan(out, HERE, CPU)
    assert len(part.items) == 6  # at two batches each
    steps = list(islice(measure(part, CPU, CountingTimer(), seconds=60), 4))
    assert [step.done for step in steps] == [1, 2, 3, 4]
    assert not out.exists()
    with part_of(out).open("a") as file:
        file.write('{"rows": [{"op": "ge')  # killed while it wrote

    monkeypatch.setattr(measuring, "layers_of_spaces", None)  # drawn once, then known
    again = plan(out, HERE, CPU)
    assert (again.done, again.items, again.rows) == (4, part.items, part.rows)
    timer = CountingTimer()
    list(measure(again, CPU, timer, seconds=60))
    assert len(timer.shapes) == 2 * len(again.asked["schemes"])
    profile = finish(again, out, CPU)
    assert not part_of(out).exists()
    assert {(r.layer, r.scheme) for r in profile.rows} == {
        (layer, scheme) for layer in part.items for scheme in ("fp32", "bf16")
    }
    assert read_profile(out, HERE) == profile


def test_time_is_that_of_all_runs_together(tmp_path, few_layers):
    part = plan(tmp_path / "p.parquet", HERE, CPU)
    part.seconds = 60.0
    assert list(measure(part, CPU, CountingTimer(), seconds=60)) == []
    with pytest.raises(ProfileError, match="at least one row; none was measured"):
        finish(part, tmp_path / "p.parquet", CPU)


def test_a_layer_that_fails_costs_no_other(tmp_path, few_layers):
    class Failing(CountingTimer):
        def time(self, calls, seconds):
            found = super().time(calls, seconds)
            if len(self.shapes) == 2:
                raise RuntimeError("not implemented for 'BFloat16'\nat length")
            return found

    part = plan(tmp_path / "p.parquet", HERE, CPU)
    list(measure(part, CPU, Failing(), seconds=60))
    assert len(part.rows) == 11
    assert part.faults[0].endswith("bf16: not implemented for 'BFloat16'")


def test_on_a_cpu_only_torch_is_timed(tmp_path, few_layers):
    part = plan(tmp_path / "p.parquet", HERE, CPU)
    list(measure(part, CPU, CountingTimer(), seconds=60))
    assert {r.backend for r in part.rows} == {"torch"}


def test_on_a_gpu_the_kernels_are_timed_beside_torch(tmp_path, few_layers, monkeypatch):
    monkeypatch.setattr(measuring, "kernel_call", partial(kernel_call, backend="plain"))
    part = plan(tmp_path / "p.parquet", GPU, CPU)
    list(measure(part, CPU, CountingTimer(), seconds=60))
    assert {r.backend for r in part.rows} == {"torch", "triton"}
    assert {r.scheme for r in part.rows} == {"fp32", "bf16", "fp16"}


def test_what_the_kernels_do_not_serve_is_timed_by_torch_alone(tmp_path, few_layers):
    part = plan(tmp_path / "p.parquet", GPU, CPU)  # the tensors are on the CPU
    list(measure(part, CPU, CountingTimer(), seconds=60))
    assert {r.backend for r in part.rows} == {"torch"}
    assert part.faults == []


def test_what_was_begun_elsewhere_is_not_mixed_in(tmp_path, few_layers):
    out = tmp_path / "p.parquet"
    plan(out, replace(HERE, torch="1.0"), CPU)
    with pytest.raises(ProfileError, match=r"torch 1\.0 instead of .*finish it there"):
        plan(out, HERE, CPU)
    part_of(out).unlink()
    plan(out, HERE, CPU)
    with pytest.raises(ProfileError, match="other operators"):
        plan(out, HERE, CPU, only=["gemm"])


def test_only_some_operators(tmp_path, few_layers):
    part = plan(tmp_path / "p.parquet", HERE, CPU, only=["gemm"])
    assert {layer.op for layer in part.items} == {"gemm"}
    with pytest.raises(ProfileError, match=r"operators are gemm, .*; got 'conv3d'"):
        plan(tmp_path / "q.parquet", HERE, CPU, only=["conv3d"])


def test_a_finished_table_is_not_replaced(tmp_path):
    out = tmp_path / "p.parquet"
    write_profile(Profile(machine=HERE, rows=(row(),)), out)
    with pytest.raises(ProfileError, match="is there already"):
        plan(out, HERE, CPU)


def test_a_profile_says_where_and_when(tmp_path, few_layers):
    out = tmp_path / "p.parquet"
    part = plan(out, HERE, CPU)
    list(measure(part, CPU, CountingTimer(), seconds=60))
    finish(part, out, CPU)
    told = json.loads(pq.read_schema(out).metadata[b"nas-profile"])
    assert told["schema"] == 1
    assert told["machine"]["torch"] == torch.__version__
    assert told["machine"]["threads"] == torch.get_num_threads()
    assert {"begun", "finished", "clocks_at_start", "clocks_at_end"} <= set(told)


def test_a_profile_can_be_priced(tmp_path):
    rows = tuple(row(layer=layer) for layer in LAYERS)
    write_profile(Profile(machine=HERE, rows=rows), tmp_path / "p.parquet")
    assert price_table(tmp_path / "p.parquet", tmp_path / "q.csv", get_target("h100")) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"timing": timing(q50_ms=float("nan"))},
            "row 2: q50_ms must be a time above 0 ms; got nan",
        ),
        ({"timing": timing(min_ms=-1.0)}, "row 2: min_ms must be a time above 0 ms; got -1.0"),
        ({"timing": timing(q80_ms=0.0)}, "row 2: q80_ms must be a time above 0 ms; got 0.0"),
        ({"backend": "cublas"}, "row 2: op must be one of .* backend one of torch, triton"),
        ({"layer": Layer("gemm", (4, 0, 16))}, "row 2: gemm needs n as a whole number above 0"),
    ],
)
def test_wrong_rows_are_refused(tmp_path, changes, message):
    write_profile(Profile(machine=HERE, rows=(row(), row(**changes))), tmp_path / "p.parquet")
    with pytest.raises(ProfileError, match=message):
        read_profile(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"torch": "1.0"}, "torch 1.0 instead of"),
        ({"device": "other"}, "device other instead of"),
        ({"threads": 99}, "threads 99 instead of"),
    ],
)
def test_another_machine_is_refused(tmp_path, changes, message):
    write_profile(Profile(machine=replace(HERE, **changes), rows=(row(),)), tmp_path / "p.parquet")
    assert len(read_profile(tmp_path / "p.parquet").rows) == 1
    with pytest.raises(ProfileError, match=message):
        read_profile(tmp_path / "p.parquet", HERE)


def test_another_schema_is_refused(tmp_path):
    path = tmp_path / "p.parquet"
    write_profile(Profile(machine=HERE, rows=(row(),)), path)
    table = pq.read_table(path)
    told = json.loads(table.schema.metadata[b"nas-profile"])
    told["schema"] = 7
    pq.write_table(table.replace_schema_metadata({b"nas-profile": json.dumps(told)}), path)
    with pytest.raises(ProfileError, match="must have schema 1; got 7"):
        read_profile(path)
    pq.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(ProfileError, match="none of nas profile"):
        read_profile(path)
    whole = path.read_bytes()
    for damaged in (b"", b"no table", whole[: len(whole) // 2], whole[:100] + whole[200:]):
        path.write_bytes(damaged)
        with pytest.raises(ProfileError, match="not a sound Parquet file"):
            read_profile(path)
    with pytest.raises(ProfileError, match="there is no file"):
        read_profile(tmp_path / "none.parquet")


class FakeClock:
    """Nanoseconds that pass when a call says so."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now

    def passes(self, *durations):
        left = list(durations)

        def call():
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_times_are_of_single_calls_and_slow_starts_do_not_count():
    clock = FakeClock()
    calls = {"quick": clock.passes(10**9, 10_000), "slow": clock.passes(10**9, 3_000_000)}
    found = CpuTimer(wall=clock, cpu=clock).time(calls, 0.03)
    assert found["quick"].q50_ms == pytest.approx(0.01)
    assert found["slow"].q50_ms == pytest.approx(3.0)
    assert (found["quick"].repeats, found["slow"].repeats) == (50, 10)


def test_the_least_and_the_quantiles_of_a_busy_machine():
    clock = FakeClock()
    busy = [1_000_000] * 2 + [5_000_000, 1_000_000, 2_000_000, 1_000_000, 1_000_000]
    found = CpuTimer(wall=clock, cpu=clock).time({"it": clock.passes(*busy)}, 0.005)["it"]
    assert found.repeats == 5
    assert (found.min_ms, found.q50_ms) == (pytest.approx(1.0), pytest.approx(1.0))
    assert found.q80_ms == pytest.approx(2.6)


def test_calls_of_seconds_are_not_repeated():
    clock = FakeClock()
    found = CpuTimer(wall=clock, cpu=clock).time({"it": clock.passes(10**9)}, 0.03)["it"]
    assert (found.repeats, found.min_ms, found.q80_ms) == (1, 1000.0, 1000.0)
    assert clock() == 2 * 10**9


class FakeGpu:
    """Enough of `torch.cuda` for a timer: time passes on the GPU's own clock, in ms."""

    def __init__(self, monkeypatch):
        self.now, self.log = 0.0, []
        outer = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                self.at = outer.now

            def elapsed_time(self, end):
                assert outer.log[-1] == "synchronize"
                return end.at - self.at

        properties = SimpleNamespace(L2_cache_size=1 << 20)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: self.passes(7.0, "sleep")())
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: self.log.append("synchronize"))

    def passes(self, milliseconds, name):
        def call():
            self.now += milliseconds
            self.log.append(name)

        return call


def test_on_a_gpu_only_the_call_is_between_the_events(monkeypatch):
    gpu = FakeGpu(monkeypatch)
    calls = {"triton": gpu.passes(0.5, "triton"), "torch": gpu.passes(2.0, "torch")}
    found = CudaTimer(CPU).time(calls, 0.02)
    assert (found["triton"].min_ms, found["triton"].q80_ms) == pytest.approx((0.5, 0.5))
    assert found["torch"].q50_ms == pytest.approx(2.0)
    assert (found["triton"].repeats, found["torch"].repeats) == (40, 10)
    assert found["triton"].cpu_ms is None
    # Once to compile, then always behind a wait; and turn by turn.
    turns = [name for name in gpu.log if name in calls][-50:]
    assert turns[:4] == ["triton", "torch", "triton", "torch"]
    assert gpu.log.count("sleep") == sum(gpu.log.count(name) for name in calls) - 2
