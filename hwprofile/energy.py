"""Energy of a network from a device's published power figures: an estimate, never measured here.

Over its latency `T` a board draws at least its idle power, and on top of that what moving bytes and
multiplying costs:

    energy = idle · T + sum over launches of min(spare · time, spare · (0.6 · bytes / bandwidth
             + 0.8 · operations / peak rate)),        spare = TDP - idle

so that a launch that keeps the memory busy draws 60 % of the spare power, one that keeps the
arithmetic busy 80 %, one that does both all of it, and none more than the TDP. The shares are
guesses, as is the idle power of a board whose maker or a measurement does not say it: 15 % of the
TDP.

The range reaches from idle power and half the dynamic energy over the shortest latency to the TDP
over the longest. Not counted: the host, power supplies and cooling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hwprofile.estimate import Estimate
from hwprofile.kernel import Kernel

_IDLE_SHARE = 0.15
_MEMORY_SHARE, _MATH_SHARE = 0.6, 0.8
_LEAST_DYNAMIC = 0.5
_FORMATS = {"w8a8": "int8", "w8": "fp16", "w4": "fp16"}
"""Number format that a scheme multiplies in, where it is not the scheme's own name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What of a device decides its energy."""

    tdp_w: float
    """Most power that the board draws for long, in watts."""
    idle_w: float | None
    """Power while nothing runs, in watts; None where no source says it."""
    dram_gbps: float
    """Memory bandwidth in GB/s (10^9 bytes)."""
    peak_tflops: Mapping[str, float]
    """Peak rate in TFLOPS (TOPS for `int8`) by number format."""

    @property
    def static_w(self) -> float:
        """Idle power, or the guess of it, in watts."""
        return _IDLE_SHARE * self.tdp_w if self.idle_w is None else self.idle_w

    def describe(self) -> str:
        """What an energy rests on, in a line for people."""
        idle = f"{self.idle_w:g} W" if self.idle_w is not None else f"{self.static_w:g} W, a guess"
        return f"power: TDP {self.tdp_w:g} W, idle {idle}; energy is estimated from these alone"


def energy_mj(
    power: Power | None, latency: Estimate, kernels: Iterable[tuple[Kernel, Estimate]]
) -> Estimate | None:
    """Energy of one forward pass, in millijoules.

    Args:
        power: of the device; None where it has no power figures.
        latency: of the network, in ms.
        kernels: its launches with their times in ms.

    Returns:
        The estimate with a wide range; None without power figures.
    """
    if power is None:
        return None
    spare = power.tdp_w - power.static_w
    dynamic = 0.0
    for kernel, time in kernels:
        # Watts times milliseconds are millijoules.
        work = _MEMORY_SHARE * _memory_ms(power, kernel) + _MATH_SHARE * _math_ms(power, kernel)
        dynamic += spare * min(time.value, work)
    most = power.tdp_w * latency.value
    value = min(power.static_w * latency.value + dynamic, most)
    low = min(power.static_w * latency.low + _LEAST_DYNAMIC * dynamic, value)
    return Estimate(value=value, low=low, high=power.tdp_w * latency.high, unit="mJ")


def _memory_ms(power: Power, kernel: Kernel) -> float:
    moved = kernel.read_bytes + kernel.weight_bytes + kernel.write_bytes
    return moved / power.dram_gbps * 1e-6


def _math_ms(power: Power, kernel: Kernel) -> float:
    multiplies = kernel.op in ("gemm", "conv2d") or kernel.k > 1
    format_ = _FORMATS.get(kernel.scheme, kernel.scheme) if multiplies else "fp32"
    rate = power.peak_tflops.get(format_, power.peak_tflops["fp32"])
    return kernel.flops / rate * 1e-9
