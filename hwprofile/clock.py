"""How long calls take, on a CPU that is shared and on a GPU that runs behind the program.

On a shared CPU wall times of short calls can be many times too long: the least of many repeats, and
the process's own time, are what stays. On CUDA each call stands between two events, its inputs are
put out of the L2 cache before it, and the GPU is kept busy until the call has been sent, so that no
time of the program is counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

_SAMPLE_NS = 200_000
"""Wall time of one sample on a CPU: calls that are shorter are repeated within it."""
_LEAST, _MOST = 3, 50
"""Samples of each call."""
_SLOW_NS = 100_000_000
"""On a CPU calls that take longer have one sample: a profile is worth more with more layers."""
_AHEAD_CYCLES = 300_000
"""GPU clock cycles that a GPU spins before each call: 0.2 ms, longer than any launch takes."""
_FLUSH_BYTES = 256 << 20
"""Written between calls at least: several times the L2 cache of any GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times of one call, in ms."""

    repeats: int
    """Samples that the figures are of."""
    min_ms: float
    """The least."""
    q20_ms: float
    """20 % of the samples take at most this."""
    q50_ms: float
    """The median."""
    q80_ms: float
    """80 % take at most this."""
    cpu_ms: float | None = None
    """Least time of the process on all its threads; None on a GPU."""


class Timer(Protocol):
    """Times calls on one kind of device."""

    def time(self, calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, Timing]:
        """Time calls, turn by turn, so that a busy moment meets all of them.

        Args:
            calls: by name, each made at least once before it is timed.
            seconds: about how long each call is timed; slow ones get 1 to 3 samples anyway.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimer:
    """Wall and process time. The clocks are in nanoseconds."""

    wall: Callable[[], int] = time.perf_counter_ns
    cpu: Callable[[], int] = time.process_time_ns

    def time(self, calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, Timing]:
        """As `Timer.time`."""
        inner, rounds = {}, {}
        walls: dict[str, list[float]] = {name: [] for name in calls}
        cpus: dict[str, list[float]] = {name: [] for name in calls}
        for name, call in calls.items():
            call()
            start, spent = self.wall(), self.cpu()
            call()
            spent, taken = self.cpu() - spent, max(1, self.wall() - start)
            if taken > _SLOW_NS:
                walls[name], cpus[name] = [taken * 1e-6], [spent * 1e-6]
                inner[name] = rounds[name] = 0
                continue
            inner[name] = max(1, min(1000, _SAMPLE_NS // taken))
            whole = int(seconds * 1e9 / (taken * inner[name]))
            rounds[name] = max(_LEAST, min(_MOST, whole))
        for turn in range(max(rounds.values(), default=0)):
            for name, call in calls.items():
                if turn >= rounds[name]:
                    continue
                start, spent = self.wall(), self.cpu()
                for _ in range(inner[name]):
                    call()
                cpus[name].append((self.cpu() - spent) / inner[name] * 1e-6)
                walls[name].append((self.wall() - start) / inner[name] * 1e-6)
        return {name: timing_of_samples(walls[name], min(cpus[name])) for name in calls}


class CudaTimer:
    """CUDA events around each call, L2 flushed before it.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        cache = torch.cuda.get_device_properties(device).L2_cache_size
        size = max(_FLUSH_BYTES, 4 * cache)
        self._buffer = torch.empty(size, dtype=torch.int8, device=device)

    def time(self, calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, Timing]:
        """As `Timer.time`."""
        with torch.cuda.device(self._device):
            rounds = {}
            for name, call in calls.items():
                call()  # compiles, and chooses an algorithm
                first = min(self._sample({name: call}, {name: 2})[name])
                rounds[name] = int(max(_LEAST, min(_MOST, seconds * 1e3 / max(first, 1e-3))))
            found = self._sample(calls, rounds)
            return {name: timing_of_samples(samples, None) for name, samples in found.items()}

    def _sample(
        self, calls: Mapping[str, Callable[[], object]], rounds: Mapping[str, int]
    ) -> dict[str, list[float]]:
        pairs: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = {n: [] for n in calls}
        for turn in range(max(rounds.values(), default=0)):
            for name, call in calls.items():
                if turn < rounds[name]:
                    pairs[name].append(self._events(call))
        torch.cuda.synchronize()
        return {name: [a.elapsed_time(b) for a, b in found] for name, found in pairs.items()}

    def _events(self, call: Callable[[], object]) -> tuple[torch.cuda.Event, torch.cuda.Event]:
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._buffer.zero_()
        torch.cuda._sleep(_AHEAD_CYCLES)  # type: ignore[no-untyped-call]
        start.record()
        call()
        end.record()
        return start, end


def timer_of(device: torch.device) -> Timer:
    """The timer for a device of this machine."""
    return CudaTimer(device) if device.type == "cuda" else CpuTimer()


def timing_of_samples(samples: list[float], cpu_ms: float | None) -> Timing:
    """What samples in ms come to."""
    cuts = statistics.quantiles(
        samples * 2 if len(samples) == 1 else samples, n=5, method="inclusive"
    )
    return Timing(
        repeats=len(samples),
        min_ms=min(samples),
        q20_ms=cuts[0],
        q50_ms=statistics.median(samples),
        q80_ms=cuts[3],
        cpu_ms=cpu_ms,
    )
