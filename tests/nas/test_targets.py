"""Targets by name: devices, files, and what a package of one's own brings."""

import sys

import pytest

from hwprofile.device import UnknownTargetError
from hwprofile.estimate import Estimate
from hwprofile.kernel import Kernel
from hwprofile.runtime import UnknownRuntimeError
from hwprofile.script_target import ScriptError
from nas.plugins import PluginError
from nas.predict import predict_network
from nas.targets import find_target

OWN = """
from hwprofile.estimate import Estimate
from hwprofile.runtime import RUNTIMES
from hwprofile.target import Target

class Slow(Target):
    schemes = ("fp32",)
    default_scheme = "fp32"
    def __init__(self, *, runtime, coverage):
        self.name, self.coverage = "slow", coverage
        self.runtime = RUNTIMES[runtime or "eager"]
    def alone(self, kernel):
        return Estimate(value=1.0, low=0.5, high=2.0)
    def host(self, kernel):
        return Estimate(value=3.0, low=2.0, high=4.0)
    def describe(self):
        return "one millisecond each"

class Unmade(Target):
    pass

class Unrelated:
    pass

calls = []
def by_elements(module, inputs):
    calls.append(type(module).__name__)
    out = module(*inputs)
    return out.numel() * 1e-6
def backwards(module, inputs):
    return -1.0
def breaks(module, inputs):
    raise OSError("no phone at the cable")

def net():
    from torch import nn
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    name = "targets_of_a_stranger"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield name
    sys.modules.pop(name, None)


def test_a_target_of_ones_own_prices_a_network_and_the_host_may_rule(own):
    found = predict_network(f"{own}:net", find_target(f"{own}:Slow", coverage=0.8), resolution=8)
    launched = len(found["kernels"])
    assert (found["device_ms"], found["host_ms"]) == (launched, 3.0 * launched)
    assert found["bound_by"] == "host"
    low, value, high = (found[name] for name in ("low_ms", "latency_ms", "high_ms"))
    assert (low, value, high) == (2.0 * launched, 3.0 * launched, 4.0 * launched)
    assert (found["target"], found["runtime"], found["coverage"]) == ("slow", "eager", 0.8)


def test_a_script_is_asked_once_for_each_kernel_and_what_it_said_is_kept(own):
    place = f"{own}:by_elements"
    kernel = Kernel(op="gemm", scheme="fp32", m=64, n=32, k=16)
    first = find_target(place).alone(kernel)
    assert first.value == pytest.approx(64 * 32 * 1e-6)
    calls = sys.modules[own].calls
    asked = len(calls)
    assert find_target(place).alone(kernel) == first  # another process would read it alike
    assert len(calls) == asked
    assert set(calls) == {"Linear"}


def test_a_script_prices_whole_networks(own):
    found = predict_network(f"{own}:net", find_target(f"{own}:by_elements"), resolution=8)
    written = sum(row["m"] * row["n"] for row in found["kernels"])
    assert found["latency_ms"] == pytest.approx(written * 1e-6)


@pytest.mark.parametrize(
    ("script", "said"), [("backwards", "milliseconds above 0"), ("breaks", "no phone at the cable")]
)
def test_a_script_at_fault_is_told(own, script, said):
    target = find_target(f"{own}:{script}")
    with pytest.raises(ScriptError, match=said):
        target.alone(Kernel(op="softmax", scheme="fp32", m=4, n=8))


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        ("Unmade", PluginError, "must be made by runtime= and coverage="),
        ("Unrelated", PluginError, "must be a subclass of"),
        ("missing", PluginError, "has no 'missing'"),
    ],
)
def test_what_is_no_target_is_told(own, name, fault, said):
    with pytest.raises(fault, match=said):
        find_target(f"{own}:{name}")


def test_names_that_lead_nowhere_are_told():
    with pytest.raises(UnknownTargetError, match="a100"):
        find_target("a1000")
    with pytest.raises(UnknownRuntimeError, match=r"a100 must be one of .*got 'cpu-eager'"):
        find_target("a100", runtime="cpu-eager")
    with pytest.raises(UnknownRuntimeError, match="did you mean 'eager'"):
        find_target("a100", runtime="eagr")


def test_a_wider_coverage_widens_every_range():
    kernel = Kernel(op="gemm", scheme="fp16", m=1024, n=1024, k=1024)
    ranges = [find_target("a100", coverage=share).price(kernel) for share in (0.5, 0.9, 0.99)]
    assert len({r.value for r in ranges}) == 1
    assert [r.low for r in ranges] == sorted((r.low for r in ranges), reverse=True)
    assert [r.high for r in ranges] == sorted(r.high for r in ranges)
    assert ranges[0] == Estimate(value=ranges[0].value, low=ranges[0].low, high=ranges[0].high)
