"""A CUDA device that need not be here: figures, constants, and corrections where rows exist.

A device's figures (`devices.toml`) are joined with the constants of the estimate and, where rows
measured on that device exist, with a learned correction and ranges whose coverage was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any

from hwprofile.constants import FOLDER, constants
from hwprofile.device import Device
from hwprofile.estimate import Estimate
from hwprofile.gemm import GemmConstants
from hwprofile.kernel import SCHEMES, Kernel
from hwprofile.runtime import CUDA_GRAPH, Runtime
from hwprofile.spread import Spread
from hwprofile.target import Target
from hwprofile.trees import Trees
from hwprofile.wave import StreamConstants, WaveModel


@dataclass(kw_only=True)
class CudaTarget(Target):
    """Prices kernels on a CUDA device, each once. Tensors are channels-last."""

    device: Device
    """The published figures."""
    model: WaveModel
    """The analytical estimate."""
    corrections: Mapping[str, Trees]
    """Learned log-ratio of measured to analytical time, by key of `Priced`."""
    spreads: Mapping[str, Spread]
    """How single launches spread about their prices, by key of `Priced`; `""` for the others."""
    network_spreads: Mapping[str, Spread]
    """How the sums over a network's launches do, by key; what is missing is as for single ones."""
    runtime: Runtime = CUDA_GRAPH
    coverage: float = 0.9
    notes: tuple[str, ...] = ()
    """What constants and ranges rest on, for people."""
    _prices: dict[Kernel, Estimate] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.name = self.device.name
        tf32 = ("tf32",) if "tf32" in self.device.peak_tflops else ()
        self.schemes = (*self.device.schemes, *tf32)
        self.ranges = {key: spread.ends(self.coverage) for key, spread in self.spreads.items()}
        """Ends over the value, by key of `Priced`, at the coverage asked for."""
        self.network_ranges = dict(self.ranges) | {
            key: spread.ends(self.coverage) for key, spread in self.network_spreads.items()
        }
        """The same for what launches add to a network's ends."""

    def alone(self, kernel: Kernel) -> Estimate:
        """As `Target.alone`."""
        return self._estimate(kernel, self.ranges)

    def price(self, kernel: Kernel) -> Estimate:
        """As `Target.price`."""
        estimate = self._prices.get(kernel)
        if estimate is None:
            estimate = self._prices[kernel] = self._estimate(kernel, self.network_ranges)
        return estimate

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
        lines += [f"  {note}" for note in self.notes]
        lines.append(f"  range of a price, as shares of it, for {self.coverage:.0%} coverage:")
        for key, (low, high) in sorted(self.ranges.items()):
            lines.append(f"    {key or 'all others'}: {low:.2f} to {high:.2f}")
        return "\n".join(lines)

    def _estimate(self, kernel: Kernel, ranges: Mapping[str, tuple[float, float]]) -> Estimate:
        if kernel.scheme not in SCHEMES:
            raise ValueError(f"a scheme must be one of {', '.join(SCHEMES)}; got {kernel.scheme!r}")
        priced = self.model.price(kernel)
        time = priced.time_us
        if priced.features:
            scheme = "bf16" if kernel.scheme == "fp16" else kernel.scheme
            trees = self.corrections.get("gemm." + scheme)
            if trees is not None:
                time = max(time * exp(trees(priced.features)), self.model.floor_us)
        low, high = ranges.get(priced.key) or ranges[""]
        time *= 1e-3
        return Estimate(value=time, low=time * low, high=time * high)


def cuda_target(device: Device, *, runtime: Runtime, coverage: float) -> CudaTarget:
    """The target for a device, whether or not anything was measured there.

    Raises:
        CoverageError: no such coverage.
    """
    table = constants()
    gemm = GemmConstants(**table["gemm"])
    schemes = {scheme: replace(gemm, **own) for scheme, own in table.get("schemes", {}).items()}
    measured = table["measured"].get(device.name, {})
    singles = {**table["ranges"]["unmeasured"], **measured.get("ranges", {})}
    networks = measured.get("networks", {}).get(runtime.name, {})
    return CudaTarget(
        device=device,
        model=WaveModel(device, gemm, StreamConstants(**table["stream"]), schemes),
        corrections={
            key: Trees.load(FOLDER / "data" / file)
            for key, file in measured.get("corrections", {}).items()
        },
        spreads={key: _spread(ends) for key, ends in singles.items()},
        network_spreads={key: _spread(ends) for key, ends in networks.items()},
        runtime=runtime,
        coverage=coverage,
        notes=tuple(table["ranges"]["measured_notes" if measured else "notes"]),
    )


def _spread(ends: Any) -> Spread:
    """A spread as the tables hold it: a pair for 90 %, or all its quantiles."""
    return Spread.of_pair(*ends) if len(ends) == 2 else Spread(tuple(ends))
