"""A CUDA device that need not be here: figures, constants, and corrections where rows exist.

A device's figures (`devices.toml`) are joined with the constants of the estimate and, where rows
measured on that device exist, with a learned correction and ranges whose coverage was measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any

import numpy as np

from hwprofile.constants import FOLDER, constants
from hwprofile.device import Device
from hwprofile.energy import Power
from hwprofile.estimate import Estimate
from hwprofile.gemm import Array, GemmConstants
from hwprofile.host import HostModel
from hwprofile.kernel import FLOAT_BYTES, SCHEMES, Kernel
from hwprofile.runtime import CUDA_GRAPH, Runtime
from hwprofile.spread import SizedSpread, Spread
from hwprofile.target import Target
from hwprofile.trees import Trees
from hwprofile.wave import StreamConstants, WaveModel


@dataclass(frozen=True, slots=True, kw_only=True)
class InNetworks:
    """Time of launches in a network over their time alone; see `constants.toml`."""

    half: float
    """Of tensors of 16 bits and fewer."""
    full: float
    """Of tensors of 32 bits."""
    spread: Spread
    """How the times of whole networks spread about the sums of these."""

    def factor(self, kernel: Kernel) -> float:
        """The factor of one launch."""
        return self.full if FLOAT_BYTES.get(kernel.scheme, 2) == 4 else self.half


@dataclass(kw_only=True)
class CudaTarget(Target):
    """Prices kernels on a CUDA device, each once. Tensors are channels-last."""

    device: Device
    """The published figures."""
    model: WaveModel
    """The analytical estimate."""
    corrections: Mapping[str, Trees]
    """Learned log-ratio of measured to analytical time, by key of `Priced`."""
    spreads: Mapping[str, SizedSpread]
    """How single launches spread about their prices, by key of `Priced`; `""` for the others."""
    network: InNetworks
    """What launches take in a network over what they take alone."""
    host_model: HostModel | None = None
    """What sends launches off; None in a graph."""
    runtime: Runtime = CUDA_GRAPH
    coverage: float = 0.9
    notes: tuple[str, ...] = ()
    """What constants and ranges rest on, for people."""
    _times: dict[Kernel, tuple[float, str]] = field(default_factory=dict, repr=False, compare=False)
    _prices: dict[Kernel, Estimate] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.name = self.device.name
        tf32 = ("tf32",) if "tf32" in self.device.peak_tflops else ()
        self.schemes = (*self.device.schemes, *tf32)
        if self.device.tdp_w is not None:
            self.power = Power(
                tdp_w=self.device.tdp_w,
                idle_w=self.device.idle_w,
                dram_gbps=self.device.dram_gbps,
                peak_tflops=self.device.peak_tflops,
            )
        self._singles = {key: (s, s.ends(self.coverage)) for key, s in self.spreads.items()}
        self._network_ends = self.network.spread.ends(self.coverage)

    def ends(self, key: str, time_us: float) -> tuple[float, float]:
        """Ends of the range of a single launch over its price, by key of `Priced`."""
        sized, by_size = self._singles.get(key) or self._singles[""]
        return by_size[sized.place(time_us)]

    def alone(self, kernel: Kernel) -> Estimate:
        """As `Target.alone`."""
        return self.alone_all((kernel,))[0]

    def alone_all(self, kernels: Iterable[Kernel]) -> list[Estimate]:
        """As `Target.alone_all`."""
        return [
            _estimate(time, self.ends(key, time)) for time, key in self._times_of(list(kernels))
        ]

    def price(self, kernel: Kernel) -> Estimate:
        """As `Target.price`."""
        return self._prices.get(kernel) or self.price_all((kernel,))[0]

    def price_all(self, kernels: Iterable[Kernel]) -> list[Estimate]:
        """As `Target.price_all`."""
        wanted = list(kernels)
        new = [kernel for kernel in dict.fromkeys(wanted) if kernel not in self._prices]
        for kernel, (time, _) in zip(new, self._times_of(new), strict=True):
            self._prices[kernel] = _estimate(time * self.network.factor(kernel), self._network_ends)
        return [self._prices[kernel] for kernel in wanted]

    def host(self, kernel: Kernel) -> Estimate | None:
        """As `Target.host`."""
        return self.host_model.estimate(kernel) if self.host_model else None

    def prior(self, kernel: Kernel) -> float:
        """The analytical time alone, in ms: what other devices get."""
        return self.model.price(kernel).time_us * 1e-3

    @property
    def launch_floor_ms(self) -> float:
        """As `Target.launch_floor_ms`."""
        return self.model.floor_us * 1e-3

    def describe(self) -> str:
        """As `Target.describe`."""
        dev = self.device
        rates = ", ".join(f"{key} {value:g}" for key, value in dev.peak_tflops.items())
        lines = [
            f"{dev.name}: {dev.title}, compute capability {dev.capability}",
            f"  {dev.sms} SMs at {dev.boost_mhz:g} MHz; peak TFLOPS, dense: {rates}",
            f"  DRAM {dev.dram_gib:g} GiB at {dev.dram_gbps:g} GB/s; L2 {dev.l2_mib:g} MiB; "
            f"shared memory {dev.shared_kib_per_sm:g} KiB per SM",
            f"  speeds up: {', '.join(dev.schemes)}",
            f"  figures: {dev.source}" + (f" <{dev.url}>" if dev.url else ""),
            f"  launch floor {self.launch_floor_ms * 1e3:.2f} us (CUDA graph)",
        ]
        half, full = self.network.half, self.network.full
        low, high = self._network_ends
        lines.append(
            f"  in a network ({self.runtime.name}) a launch takes {half:g} times its time alone, "
            f"{full:g} in 32 bits; whole networks {low:.2f} to {high:.2f} of their price"
        )
        if self.power is not None:
            lines.append(f"  {self.power.describe()}")
        lines += [f"  {note}" for note in self.notes]
        lines.append(f"  range of a price, as shares of it, for {self.coverage:.0%} coverage:")
        for key, (_, ends) in sorted(self._singles.items()):
            low, high = min(end[0] for end in ends), max(end[1] for end in ends)
            sizes = f", by size, {len(ends)} ranges" if len(ends) > 1 else ""
            lines.append(f"    {key or 'all others'}: {low:.2f} to {high:.2f}{sizes}")
        return "\n".join(lines)

    def _times_of(self, kernels: Sequence[Kernel]) -> list[tuple[float, str]]:
        """Corrected times in us, and keys of ranges; new ones are worked out all at once."""
        new = [kernel for kernel in dict.fromkeys(kernels) if kernel not in self._times]
        for kernel in new:
            if kernel.scheme not in SCHEMES:
                raise ValueError(
                    f"a scheme must be one of {', '.join(SCHEMES)}; got {kernel.scheme!r}"
                )
        by_correction: dict[str, list[tuple[Kernel, Array]]] = {}
        for kernel, priced in zip(new, self.model.price_all(new), strict=True):
            self._times[kernel] = (priced.time_us, priced.key)
            if priced.features is not None and priced.correction in self.corrections:
                by_correction.setdefault(priced.correction, []).append((kernel, priced.features))
        for name, rows in by_correction.items():
            logs = self.corrections[name](np.stack([features for _, features in rows]))
            for (kernel, _), log in zip(rows, logs, strict=True):
                time, key = self._times[kernel]
                self._times[kernel] = (max(time * exp(log), self.model.floor_us), key)
        return [self._times[kernel] for kernel in kernels]


def _estimate(time_us: float, ends: tuple[float, float]) -> Estimate:
    time = time_us * 1e-3
    return Estimate(value=time, low=time * ends[0], high=time * ends[1])


def cuda_target(device: Device, *, runtime: Runtime, coverage: float) -> CudaTarget:
    """The target for a device, whether or not anything was measured there.

    Raises:
        CoverageError: no such coverage.
    """
    table = constants()
    gemm = GemmConstants(**table["gemm"])
    schemes = {scheme: replace(gemm, **own) for scheme, own in table.get("schemes", {}).items()}
    measured = table["measured"].get(device.name, {})
    spreads = _spreads(table["ranges"]["unmeasured"])
    for owner in ("unmeasured", device.name):
        path = FOLDER / "data" / f"{owner}_spreads.json"
        if path.is_file():
            spreads |= _spreads(json.loads(path.read_text(encoding="utf-8")))
    networks = table["networks"][runtime.name]
    network = networks.get(device.name, networks["others"])
    return CudaTarget(
        device=device,
        model=WaveModel(device, gemm, StreamConstants(**table["stream"]), schemes),
        corrections={
            key: Trees.load(FOLDER / "data" / file)
            for key, file in measured.get("corrections", {}).items()
        },
        spreads=spreads,
        network=InNetworks(
            half=network["half"],
            full=network["full"],
            spread=Spread.of_pair(*network["range"]),
        ),
        host_model=_host(table["host"][runtime.name]) if runtime.dispatches else None,
        runtime=runtime,
        coverage=coverage,
        notes=tuple(table["notes"].get(device.name, table["notes"]["others"])),
    )


def _host(table: Mapping[str, Any]) -> HostModel:
    low, high = table["range"]
    return HostModel(
        dispatch_us=table["dispatch_us"], autocast_us=table["autocast_us"], range=(low, high)
    )


def _spreads(table: Mapping[str, Any]) -> dict[str, SizedSpread]:
    """Spreads as the tables hold them: a pair for 90 %, or limits and quantiles by size."""
    return {
        key: SizedSpread.of_one(Spread.of_pair(*found))
        if isinstance(found, list)
        else SizedSpread(tuple(found["upto_us"]), tuple(Spread(tuple(x)) for x in found["logs"]))
        for key, found in table.items()
    }
