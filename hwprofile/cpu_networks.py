"""Measures whole networks while a CPU is profiled, at several moments."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from hwprofile.clock import Timing, timing_of_samples
from hwprofile.cpu_table import CallRow, network_call
from hwprofile.onednn import served
from hwprofile.part_file import Part
from hwprofile.profiled_networks import Made, profiled_networks

_MOMENTS = (0.0, 0.5, 1.0)
"""When they are measured, as shares of the time of the calls that they are made of."""
_ROUNDS, _MOST_MS = 5, 150.0
"""Runs of a network at one moment, and how long they may take together before there are no more."""
_SEED = 0


class WholeNetworks:
    """The moments of one run, in eager mode; none in other runtimes.

    Args:
        part: the profile.
        run: runtime and scheme.
        dtype: of all tensors.
        begin: seconds of the profile at which the run's calls begin to be measured.
        end: likewise, at which no more are begun.
    """

    def __init__(
        self,
        part: Part[Any, CallRow],
        run: tuple[str, str],
        dtype: torch.dtype,
        begin: float,
        end: float,
    ) -> None:
        self._part, self._run, self._dtype = part, run, dtype
        known = Counter(row.network for row in part.rows if (row.runtime, row.scheme) == run)
        known.pop(None, None)
        done = min(known.values(), default=0)
        # Where 16 bits are slow a network takes seconds, and its products all of them.
        moments = _MOMENTS if run[0] == "cpu-eager" and served(run[1]) else ()
        self._due = [begin + share * (end - begin) for share in moments[done:]]
        self._networks: dict[str, Callable[[], object]] = {}

    def measure(self, *, last: bool = False) -> None:
        """Measure if a moment has come; at last, if any is left."""
        if not self._due or (self._part.seconds < self._due[0] and not last):
            return
        self._due = [] if last else self._due[1:]
        start = time.monotonic()
        if not self._networks:
            made = profiled_networks()
            self._networks = {name: self._ready(make) for name, make in made.items()}
        runtime, scheme = self._run
        rows = [
            CallRow(
                runtime=runtime,
                scheme=scheme,
                call=network_call(name),
                timing=_time(network),
            )
            for name, network in self._networks.items()
        ]
        self._part.add(rows, (), time.monotonic() - start)

    def _ready(self, make: Callable[[], Made]) -> Callable[[], object]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            network, shape = make()
            image = torch.rand(shape).to(self._dtype)
        return partial(network.to(self._dtype), image)


def _time(network: Callable[[], object]) -> Timing:
    """Time a network as it is served: again and again, so that caches hold what they can."""
    network()  # chooses algorithms
    walls: list[float] = []
    spent = math.inf
    while len(walls) < _ROUNDS and sum(walls) < _MOST_MS:
        start, used = time.perf_counter_ns(), time.process_time_ns()
        network()
        spent = min(spent, (time.process_time_ns() - used) * 1e-6)
        walls.append((time.perf_counter_ns() - start) * 1e-6)
    return timing_of_samples(walls, spent)
