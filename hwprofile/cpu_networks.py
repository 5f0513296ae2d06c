"""Measures the usual networks whole while a CPU is profiled, at several moments."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

import torch
from torch import nn

from hwprofile.clock import Timing, timing_of_samples
from hwprofile.cpu_table import CallRow, network_call
from hwprofile.onednn import served
from hwprofile.part_file import Part
from hwprofile.usual_networks import SIDE, usual_networks

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
        self._networks: dict[str, nn.Module] = {}

    def measure(self, *, last: bool = False) -> None:
        """Measure if a moment has come; at last, if any is left."""
        if not self._due or (self._part.seconds < self._due[0] and not last):
            return
        self._due = [] if last else self._due[1:]
        start = time.monotonic()
        if not self._networks:
            made = usual_networks().items()
            self._networks = {name: make().eval().to(self._dtype) for name, make in made}
        generator = torch.Generator().manual_seed(_SEED)
        image = torch.rand(1, 3, SIDE, SIDE, generator=generator).to(self._dtype)
        runtime, scheme = self._run
        rows = [
            CallRow(
                runtime=runtime,
                scheme=scheme,
                call=network_call(name),
                timing=_time(network, image),
            )
            for name, network in self._networks.items()
        ]
        self._part.add(rows, (), time.monotonic() - start)


def _time(network: nn.Module, image: torch.Tensor) -> Timing:
    """Time a network as it is served: again and again, so that caches hold what they can."""
    network(image)  # chooses algorithms
    walls: list[float] = []
    spent = math.inf
    while len(walls) < _ROUNDS and sum(walls) < _MOST_MS:
        start, used = time.perf_counter_ns(), time.process_time_ns()
        network(image)
        spent = min(spent, (time.process_time_ns() - used) * 1e-6)
        walls.append((time.perf_counter_ns() - start) * 1e-6)
    return timing_of_samples(walls, spent)
