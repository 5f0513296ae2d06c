"""A device that is not as the analytical estimate says, measured: prices follow the rows."""

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from hwprofile.clock import Timing
from hwprofile.device import UnknownTargetError
from hwprofile.interpolate import Residuals
from hwprofile.kernel import Kernel
from hwprofile.kernel_rows import kernel_of
from hwprofile.layer import Layer
from hwprofile.machine import Machine
from hwprofile.measured_target import MeasuredTarget
from hwprofile.profile_table import Profile, ProfileError, Row, write_profile
from hwprofile.targets import get_target

MACHINE = Machine(
    kind="cuda",
    device="NVIDIA T4",
    threads=0,
    torch="2.13.0",
    triton="3.9.0",
    cuda="13.0",
    driver="1",
    instructions="7.5",
)
BASE = get_target("t4")


def factor(kernel: Kernel) -> float:
    """How much slower the pretended device is than the estimate: slowly varying in sizes."""
    return 1.5 * (kernel.m / 1024) ** 0.2


def pretended(count: int, seed: int = 0, noise: float = 0.0) -> Profile:
    random, rows = Random(seed), []
    for _ in range(count):
        sizes = tuple(2 ** random.randint(5, 12) for _ in range(3))
        layer = Layer("gemm", sizes)
        kernel = kernel_of("gemm", "fp16", {"groups": 1, **layer.named})
        time = BASE.prior(kernel) * factor(kernel) * math.exp(random.gauss(0.0, noise))
        timing = Timing(repeats=5, min_ms=time, q20_ms=time, q50_ms=time, q80_ms=time)
        rows.append(
            Row(layer=layer, scheme="fp16", dtype="float16", backend="torch", timing=timing)
        )
    return Profile(machine=MACHINE, rows=tuple(rows), facts={"finished": "2026-01-01"})


def product(m: int, n: int, k: int) -> Kernel:
    return Kernel(op="gemm", scheme="fp16", m=m, n=n, k=k, flops=2 * m * n * k)


def test_prices_follow_rows_and_ranges_hold_what_was_not_measured():
    target = MeasuredTarget(BASE, pretended(300, noise=0.05))
    random, errors, before, inside = Random(9), [], [], []
    for _ in range(200):
        kernel = product(*(random.randint(32, 4096) for _ in range(3)))
        truth = BASE.prior(kernel) * factor(kernel) * math.exp(random.gauss(0.0, 0.05))
        price = target.price(kernel)
        errors.append(abs(price.value / truth - 1))
        before.append(abs(BASE.price(kernel).value / truth - 1))
        inside.append(price.low <= truth <= price.high)
    assert np.median(errors) < 0.08 < np.median(before)
    assert np.mean(inside) > 0.8


def test_a_row_says_its_own_time():
    profile = pretended(60)
    target = MeasuredTarget(BASE, profile)
    row = profile.rows[7]
    kernel = kernel_of("gemm", "fp16", {"groups": 1, **row.layer.named})
    assert target.alone(kernel).value == pytest.approx(row.timing.q50_ms, rel=1e-3)


def test_kinds_without_rows_enough_are_priced_as_unmeasured():
    target = MeasuredTarget(BASE, pretended(19))
    assert target.alone(product(64, 64, 64)) == BASE.alone(product(64, 64, 64))
    measured = MeasuredTarget(BASE, pretended(40))
    other = Kernel(op="softmax", scheme="fp16", m=64, n=64, read_bytes=8192, write_bytes=8192)
    assert measured.alone(other) == BASE.alone(other)


def test_what_it_rests_on_is_told():
    text = MeasuredTarget(BASE, pretended(40)).describe()
    assert "40 rows of NVIDIA T4, measured 2026-01-01 by torch 2.13.0" in text
    assert "gemm fp16: measured over analytical" in text


def test_far_from_all_rows_the_middle_is_said():
    residuals = Residuals([(8.0,), (16.0,), (32.0,)], [0.1, 0.2, 0.9])
    assert residuals.at((16.0,)) == pytest.approx(0.2, abs=0.01)
    assert residuals.at((2.0**60,)) == pytest.approx(0.2, abs=0.1)


def test_a_table_is_a_target_by_its_path(tmp_path):
    path = tmp_path / "t4.parquet"
    write_profile(pretended(40), path)
    target = get_target(str(path), runtime="eager", coverage=0.8)
    assert (target.name, target.runtime.name, target.coverage) == ("t4", "eager", 0.8)
    kernel = product(256, 256, 256)
    assert target.price(kernel).value != BASE.price(kernel).value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "NVIDIA Unheard 5000"}, "figures of its GPU ship .*Unheard 5000"),
        ({"kind": "cpu", "device": "a CPU"}, "figures of its GPU ship"),
    ],
)
def test_tables_of_devices_without_figures_are_refused(tmp_path, change, said):
    profile = pretended(20)
    other = replace(profile, machine=replace(MACHINE, **change))
    write_profile(other, tmp_path / "p.parquet")
    with pytest.raises(ProfileError, match=said):
        get_target(str(tmp_path / "p.parquet"))


def test_a_machine_without_a_gpu_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UnknownTargetError, match="torch sees none"):
        get_target("local")
