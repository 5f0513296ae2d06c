"""Products priced on a device that no constant was fitted to: each device in turn is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.latency.fit_gemm import DEVICES, fit_base, fit_scheme, log_ratios
from benchmarks.latency.rows import SCHEMES, gemm_rows
from hwprofile.device import load_device
from hwprofile.gemm import Array
from hwprofile.spread import SizedSpread
from hwprofile.wave import limits

ROWS = 3000
"""Rows of each device that are priced."""


@dataclass(frozen=True)
class HeldDevice:
    """A device's rows priced with constants from the other devices alone."""

    price_us: Array
    """`[rows]`."""
    log_ratio: Array
    """log(measured / predicted) `[rows]`."""


@dataclass(frozen=True)
class Transfer:
    """How well a device is priced that is left out."""

    scheme: str
    device: str
    rows: int
    median_error: float
    median_ratio: float
    """Median of predicted / measured."""
    within_20: float
    coverage: float
    """Share inside the 90 % range that the other devices give, widened by `widening`."""


def held_devices(data: Path) -> dict[str, dict[str, HeldDevice]]:
    """Every device left out, by scheme and device."""
    bases = {
        device: fit_base(data, [other for other in DEVICES["bf16"] if other != device])
        for device in DEVICES["bf16"]
    }
    found: dict[str, dict[str, HeldDevice]] = {}
    for scheme in ("bf16", *SCHEMES):
        for device in DEVICES[scheme]:
            others = [other for other in DEVICES[scheme] if other != device]
            constants = bases[device]
            if scheme != "bf16":
                constants = fit_scheme(data, scheme, constants, others)
            rows = np.stack(gemm_rows(data, scheme, device))
            chosen = np.random.default_rng(1).permutation(rows.shape[1])[:ROWS]
            m, n, k, time = rows[:, chosen]
            part = (limits(load_device(device), scheme), m, n, k, time)
            logs = log_ratios(part, constants)
            found.setdefault(scheme, {})[device] = HeldDevice(time / np.exp(logs), logs)
    return found


def pooled(devices: Sequence[HeldDevice], wider: float = 1.0) -> SizedSpread:
    """The spread of rows of several devices, each when left out, its logarithms times `wider`."""
    return SizedSpread.of_rows(
        np.concatenate([device.price_us for device in devices]).tolist(),
        np.concatenate([device.log_ratio * wider for device in devices]).tolist(),
    )


def inside(devices: dict[str, HeldDevice], wider: float, coverage: float) -> dict[str, float]:
    """Share of each device's rows inside the range that the others give."""
    found = {}
    for name, rows in devices.items():
        spread = pooled([other for key, other in devices.items() if key != name], wider)
        ends = np.log(spread.ends(coverage))[[spread.place(us) for us in rows.price_us]]
        held = (rows.log_ratio >= ends[:, 0]) & (rows.log_ratio <= ends[:, 1])
        found[name] = float(np.mean(held))
    return found


def widening(devices: dict[str, HeldDevice], coverage: float = 0.9) -> float:
    """What the spread of the other devices must be times, to hold the left out one's on average.

    Devices differ more from each other than the rows of one: their pooled spread alone is too
    narrow for the next device.
    """
    for wider in np.arange(1.0, 4.0, 0.05).tolist():
        if np.mean(list(inside(devices, wider, coverage).values())) >= coverage:
            return float(wider)
    raise ValueError(f"no spread four times as wide holds {coverage:.0%} of devices left out")


def transfers(held: dict[str, dict[str, HeldDevice]], coverage: float = 0.9) -> list[Transfer]:
    """The table of devices left out."""
    found = []
    for scheme, devices in held.items():
        shares = inside(devices, widening(devices, coverage), coverage)
        for name, rows in devices.items():
            error = np.abs(np.expm1(-rows.log_ratio))
            found.append(
                Transfer(
                    scheme=scheme,
                    device=name,
                    rows=len(error),
                    median_error=float(np.median(error)),
                    median_ratio=float(np.exp(-np.median(rows.log_ratio))),
                    within_20=float(np.mean(error <= 0.2)),
                    coverage=shares[name],
                )
            )
    return found
