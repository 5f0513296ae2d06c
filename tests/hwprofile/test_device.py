import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hwprofile.device import (
    DeviceFileError,
    UnknownTargetError,
    device_names,
    load_device,
)
from hwprofile.kernel import SCHEMES, Kernel
from hwprofile.targets import get_target

OWN = """
title = "Own board"
capability = "8.6"
sms = 20
boost_mhz = 1500
dram_gbps = 200
dram_gib = 8
l2_mib = 2
shared_kib_per_sm = 100
peak = { fp16 = 30, bf16 = 30, int8 = 60, fp32 = 7.7 }
schemes = ["fp32", "fp16"]
source = "its datasheet"
"""


def test_the_promised_devices_ship_with_sources() -> None:
    promised = {"a100", "h100", "h200", "v100", "t4", "l4", "a10", "rtx3090", "rtx4090"}
    assert promised <= set(device_names())
    for name in device_names():
        device = load_device(name)
        assert device.source
        assert device.url.startswith("https://")
        assert set(device.schemes) <= set(SCHEMES)


@pytest.mark.parametrize(
    ("name", "format_", "flops_per_sm_and_clock"),
    # What one SM does in a clock is a property of its architecture: clock, SMs and peak must agree.
    [
        ("a100", "fp16", 2048),
        ("h100", "fp16", 4096),
        ("h200", "fp16", 4096),
        ("v100", "fp16", 1024),
        ("t4", "fp16", 1024),
        ("l4", "fp16", 1024),
        ("a10", "fp16", 1024),
        ("rtx3090", "fp16", 512),
        ("rtx4090", "fp16", 512),
        ("a100", "fp32", 128),
        ("v100", "fp32", 128),
        ("l4", "fp32", 256),
        ("rtx4090", "fp32", 256),
    ],
)
def test_figures_agree_with_each_other(
    name: str, format_: str, flops_per_sm_and_clock: int
) -> None:
    device = load_device(name)
    derived = device.sms * device.boost_mhz * 1e6 * flops_per_sm_and_clock / 1e12
    assert device.peak_tflops[format_] == pytest.approx(derived, rel=0.02)


def test_unknown_target_lists_names_and_suggests() -> None:
    with pytest.raises(UnknownTargetError, match=r"a100, .*got 'a1000'.*Did you mean 'a100'\?"):
        get_target("a1000")
    with pytest.raises(UnknownTargetError, match=r"there is none at 'nowhere\.toml'"):
        get_target("nowhere.toml")


def test_own_device_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    target = get_target(str(path))
    assert target.device.name == "own"
    estimate = target.price(Kernel(op="gemm", scheme="fp16", m=4096, n=4096, k=4096))
    # Never faster than the peak, and not ten times slower either.
    ideal = 2 * 4096**3 / 30e12 * 1e3
    assert ideal < estimate.value < 3 * ideal


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sms = 20", "sm = 20", "got 'sm'; did you mean 'sms'"),
        ("dram_gbps = 200", "dram_gbps = 200e9", "dram_gbps must be GB/s .* got 2000+.*unit"),
        ("boost_mhz = 1500", "boost_mhz = 1.5", "boost_mhz must be MHz"),
        ("sms = 20", "sms = 20.5", "whole number"),
        ("l2_mib = 2", "", "a device needs l2_mib"),
        ("int8 = 60, ", "", "peak must be a table with fp16"),
        ('["fp32", "fp16"]', '["fp32", "int4"]', r"schemes are .* got \['int4'\]"),
        ("sms = 20", "sms =", "must be TOML"),
    ],
)
def test_faults_of_a_device_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(DeviceFileError, match=message):
        load_device(str(path))


def test_describe_says_what_prices_rest_on() -> None:
    text = get_target("a100").describe()
    for part in ("SXM4-80GB", "2039 GB/s", "datasheet", "aiconfigurator", "gemm.bf16", "floor"):
        assert part in text
    assert "nothing was measured on this device" in get_target("t4").describe()


def test_targets_travel_to_other_processes() -> None:
    target = get_target("a100")
    kernel = Kernel(op="gemm", scheme="bf16", m=300, n=300, k=300)
    assert pickle.loads(pickle.dumps(target)).price(kernel) == target.price(kernel)


def test_pricing_imports_no_heavy_package() -> None:
    code = (
        "import sys; from hwprofile.targets import get_target; get_target('a100');"
        "print(sorted({'torch', 'ray', 'optuna', 'pymoo', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tf32_is_a_scheme_where_the_device_multiplies_in_it():
    kernel = Kernel(op="gemm", scheme="tf32", m=4096, n=4096, k=4096)
    a100 = get_target("a100")
    assert "tf32" in a100.schemes
    times = [a100.price(replace(kernel, scheme=s)).value for s in ("fp16", "tf32", "fp32")]
    assert times == sorted(times)
    assert "tf32" not in get_target("t4").schemes
