"""The fitted estimator of a CPU profile: prices by precision, and how rows left out spread."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hwprofile.calibration import LEAST, Calibration, calibrate
from hwprofile.cpu_features import Array
from hwprofile.cpu_fit import Prices
from hwprofile.cpu_fused import fused_prices
from hwprofile.cpu_table import CpuProfile
from hwprofile.kernel import Kernel
from hwprofile.profile_table import ProfileError
from hwprofile.profiled_networks import profiled_networks
from hwprofile.replay import kernels_of
from hwprofile.runtime import RUNTIMES, Runtime, launches
from hwprofile.spread import Spread
from hwprofile.trace import trace

UNMEASURED = Spread.of_pair(1 / 3, 3.0)
"""Of what too few rows or none tell of: it is priced as its family is."""
_EAGER = RUNTIMES["cpu-eager"]
_ANY = "any"
"""Stands for all kinds of kernel."""
_FORMAT = 12
"""Part of a cached fit's name: raised when fits or their fields change."""
_BUSY = 3.0
"""A network that took so many times its least at a moment shared the processors with others."""
_LEAST_ROWS = 40
"""Rows that a family needs for a range of its own."""


@dataclass(slots=True, kw_only=True)
class CpuModel:
    """What one runtime's kernels take on one CPU, by precision."""

    runtime: Runtime
    """What launches them."""
    called: dict[str, Prices]
    """Prices of calls that were measured as this runtime makes them, by scheme."""
    eager: dict[str, Prices]
    """Prices of eager calls, of which generated loops are put together; empty where none are."""
    spreads: dict[str, dict[str, Spread]]
    """Of log(measured / price) of rows left out, by scheme and family of kernel; `""` for all."""
    errors: dict[str, float]
    """Median relative error of rows left out, by scheme."""
    rows: dict[str, int]
    """Rows fitted, by scheme."""
    networks: dict[str, Calibration]
    """What whole networks say of the sums, by scheme; empty where none were measured."""

    def __call__(self, kernels: Sequence[Kernel], scheme: str) -> Array:
        """Times in ms `[kernels]`."""
        generated = [i for i, kernel in enumerate(kernels) if self.generates(kernel)]
        if not generated:
            return self.called[scheme](kernels)
        times = np.zeros(len(kernels))
        called = sorted(set(range(len(kernels))).difference(generated))
        times[called] = self.called[scheme]([kernels[i] for i in called])
        times[generated] = fused_prices([kernels[i] for i in generated], self.eager[scheme])
        return times

    def generates(self, kernel: Kernel) -> bool:
        """Whether a kernel is a loop that the runtime generates rather than a library's."""
        return self.runtime.fuses and self.runtime.extern.isdisjoint(kernel.ops)

    def knows(self, kernel: Kernel) -> bool:
        """Whether calls of the kernel's functions were measured."""
        prices = (self.eager if self.generates(kernel) else self.called)[kernel.scheme]
        return self.generates(kernel) or prices.knows(kernel)


def load_model(profile: CpuProfile, path: Path, runtime: Runtime) -> CpuModel:
    """The model fitted on a profile, from beside its file if it was fitted before.

    Args:
        profile: what was measured.
        path: where it lies.
        runtime: whose rows are fitted.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    place = path.with_name(f"{path.stem}.{runtime.name}.fit{_FORMAT}-{digest}.pickle")
    if place.is_file():
        try:
            found = pickle.loads(place.read_bytes())  # written below, by this user
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError):
            found = None  # cut off, or of other code: fitted again
        if isinstance(found, CpuModel):
            return found
    model = fit_model(profile, runtime)
    temporary = place.with_name(place.name + ".tmp")
    temporary.write_bytes(pickle.dumps(model))
    os.replace(temporary, place)
    return model


def fit_model(profile: CpuProfile, runtime: Runtime) -> CpuModel:
    """Fit the rows of one runtime.

    What inductor calls as eager torch does was measured there alone and is fitted with its own.

    Raises:
        ProfileError: the profile has no call of the runtime.
    """
    called: dict[str, Prices] = {}
    eager: dict[str, Prices] = {}
    spreads, errors, counts = {}, {}, {}
    for scheme in dict.fromkeys(row.scheme for row in profile.rows):
        calls, times = _measured(profile, scheme, runtime)
        needed = _measured(profile, scheme, _EAGER) if runtime.fuses else (calls, times)
        if not calls or not needed[0]:
            continue
        if runtime.fuses:
            eager[scheme] = Prices.fit(*needed)
        called[scheme] = Prices.fit(calls, times)
        left_out = called[scheme].left_out
        spreads[scheme] = _spreads(left_out)
        errors[scheme] = float(np.median([abs(np.expm1(-log)) for _, log in left_out]))
        counts[scheme] = len(calls)
    if not called:
        raise ProfileError(
            f"a profile needs calls of {runtime.name}{' and of cpu-eager' * runtime.fuses}; this "
            "one has none: measure again by "
            "nas profile --target cpu --yes"
        )
    model = CpuModel(
        runtime=runtime,
        called=called,
        eager=eager,
        spreads=spreads,
        errors=errors,
        rows=counts,
        networks={},
    )
    # Compiled networks are not measured: they get what all eager ones have in common.
    eager_model = replace(model, runtime=_EAGER, called=eager) if runtime.fuses else model
    for scheme in called:
        if found := _calibration(eager_model, scheme, profile, by_kind=not runtime.fuses):
            model.networks[scheme] = found
    return model


def _calibration(
    model: CpuModel, scheme: str, profile: CpuProfile, *, by_kind: bool
) -> Calibration | None:
    """What the networks that a profile measured whole say of the sums of its prices.

    Each was measured at several moments, so the range knows how the machine changes between them.

    Args:
        model: of eager calls.
        scheme: of the networks.
        profile: what was measured.
        by_kind: whether each kind of kernel has a factor of its own.
    """
    runtime, made = model.runtime, profiled_networks()
    parts: dict[str, dict[str, float]] = {}
    names, times = [], []
    for row in profile.rows:
        name, run = row.network, (row.runtime, row.scheme)
        if name is None or name not in made or run != (runtime.name, scheme):
            continue
        if name not in parts:
            with torch.device("meta"):
                network, shape = made[name]()
            record = trace(network, shape, layout=runtime.layout)
            kernels = launches(record, runtime, scheme)
            sums: dict[str, float] = defaultdict(float)
            for kernel, time in zip(kernels, model(kernels, scheme).tolist(), strict=True):
                sums[kernel.op if by_kind else _ANY] += time
            parts[name] = sums
        names.append(name)
        times.append(row.timing.q50_ms)
    if len(parts) < LEAST:
        return None
    least = {name: min(t for n, t in zip(names, times, strict=True) if n == name) for name in parts}
    kept = [(n, t) for n, t in zip(names, times, strict=True) if t <= _BUSY * least[n]]
    found = calibrate([parts[n] for n, _ in kept], [t for _, t in kept], [n for n, _ in kept])
    return found if by_kind else replace(found, factors={}, other=found.factor(_ANY))


def _measured(
    profile: CpuProfile, scheme: str, runtime: Runtime
) -> tuple[list[tuple[Kernel, ...]], list[float]]:
    """Kernels of every measured call of a runtime, and its time in ms."""
    calls, times = [], []
    for row in profile.rows:
        if (row.runtime, row.scheme) == (runtime.name, scheme) and row.network is None:
            kernels = kernels_of(row.call, runtime, scheme)
            if kernels:
                calls.append(kernels)
                times.append(row.timing.q50_ms)
    return calls, times


def _spreads(left_out: Sequence[tuple[str, float]]) -> dict[str, Spread]:
    by_family: dict[str, list[float]] = defaultdict(list)
    for family, log in left_out:
        by_family[""].append(log)
        by_family[family].append(log)
    enough = {
        family: Spread.of_rows(logs)
        for family, logs in by_family.items()
        if len(logs) >= _LEAST_ROWS
    }
    return {"": UNMEASURED} | enough
