"""Measures this machine's CPU: calls of the shipped spaces and of usual layers, in turns.

What is measured lies in a part file beside the table until the table is written, so that a run that
was stopped goes on where it was.
"""

from __future__ import annotations

import datetime
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils._pytree import tree_leaves

from hwprofile.clock import Timing, timing_of_samples
from hwprofile.cpu_grid import (
    calls_of_spaces,
    calls_of_usual_layers,
    routine,
    take_turns,
    work_of,
)
from hwprofile.cpu_networks import WholeNetworks
from hwprofile.cpu_table import (
    CallRow,
    CpuProfile,
    call_row_of,
    call_row_values,
    write_cpu_profile,
)
from hwprofile.heap import keep_memory
from hwprofile.library_calls import library_call, library_replay
from hwprofile.machine import Machine, clocks_of
from hwprofile.part_file import Codec, Part, read_part
from hwprofile.profile_table import ProfileError
from hwprofile.replay import OneCall, Replay, as_json, from_json, replay_of
from hwprofile.whole import DTYPES

SHARES: dict[tuple[str, str], float] = {
    ("cpu-eager", "fp32"): 0.4,
    ("cpu-inductor", "fp32"): 0.2,
    ("cpu-eager", "bf16"): 0.25,
    ("cpu-inductor", "bf16"): 0.15,
}
"""Runtimes and schemes, each with its share of the time."""
SECONDS = 120
"""How long a profile is measured; what comes before and after takes less than the rest of three
minutes."""
_SPACE_SAMPLES, _LAYERS = 2, 900
_BATCH_CALLS, _BATCH_BYTES = 64, 256 << 20
"""A batch is timed together: its tensors fill more than the caches."""
_ROUNDS = 8
_STALLED = 1.6
"""A sample of so many times the least waited for a processor: threads of one call that share one
wait a slice of several milliseconds, which says nothing of the call."""
_SLOW_MS = 60.0
"""A call that took longer, all rounds together, has no more of them."""
_MOST_SECONDS = 0.2
"""Calls that are expected to take longer are left out: smaller ones of their kind say enough."""
_NEAR = 5
"""Measured calls by which another's time is foreseen."""
_SEED = 0


@dataclass(frozen=True, slots=True)
class Item:
    """What is timed next."""

    runtime: str
    scheme: str
    call: OneCall


CpuPart = Part[Item, CallRow]
_CODEC = Codec[Item, CallRow](
    item=lambda item: [item.runtime, item.scheme, as_json(item.call)],
    item_of=lambda values: Item(values[0], values[1], from_json(values[2])),
    row=call_row_values,
    row_of=call_row_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far a profile is."""

    said: str
    """What was measured last, for people."""
    rows: int
    """Rows measured."""
    share: float
    """Share of the time that is over, from 0 to 1, earlier runs included."""


def plan_cpu(
    out: Path, machine: Machine, *, report: Callable[[str], None] = lambda name: None
) -> CpuPart:
    """What is to be measured: what was begun at `out`, or else calls drawn anew.

    Args:
        out: where the table will be.
        machine: this one.
        report: called with the name of each space that is drawn from.

    Raises:
        ProfileError: what was begun was begun on another machine or version.
    """
    path = out.with_name(out.name + ".part")
    asked = {"runs": tuple(f"{runtime} {scheme}" for runtime, scheme in SHARES)}
    found = read_part(path, machine, asked, _CODEC)
    if found is not None:
        return found
    drawn = calls_of_spaces(samples=_SPACE_SAMPLES, seed=_SEED, report=report)
    report("usual layers")
    drawn += calls_of_usual_layers(layers=_LAYERS, seed=_SEED)
    calls = take_turns(list(dict.fromkeys(drawn)), _SEED)
    called = list(dict.fromkeys(filter(None, map(library_call, calls))))
    made = {"cpu-eager": calls, "cpu-inductor": called}
    items = tuple(Item(*run, call) for run in SHARES for call in made[run[0]])
    facts = {
        "begun": _now(),
        "python": platform.python_version(),
        "clocks_at_start": clocks_of(torch.device("cpu")),
    }
    part = CpuPart(path=path, machine=machine, asked=asked, items=items, codec=_CODEC, facts=facts)
    part.begin()
    return part


def measure_cpu(part: CpuPart, *, seconds: float) -> Iterator[Step]:
    """Measure what a part still lacks, until all runs of it took `seconds` together.

    Calls are timed batch by batch, each once a round: what lies between two turns of a call puts
    its weights out of the caches, as the rest of a network does.

    Yields:
        A step behind each batch. The generator may be dropped at any of them.
    """
    pace, until = _Pace(part), 0.0
    keep_memory()  # as networks are measured whole
    with torch.inference_mode():
        for run, share in SHARES.items():
            whole = WholeNetworks(part, run, DTYPES[run[1]], until, until + share * seconds)
            until += share * seconds
            ahead = [item for item in part.items[part.done :] if (item.runtime, item.scheme) == run]
            calls = (row for row in part.rows if row.network is None)
            begun = any((row.runtime, row.scheme) == run for row in calls)
            while ahead and (part.seconds < until or not begun):
                begun = True  # without a call of its own a run could not be priced
                whole.measure()
                start = time.monotonic()
                batch, faults = _next_batch(part, ahead, pace)
                timings = time_in_rounds([replay for _, replay in batch], rounds=_ROUNDS)
                rows = [
                    CallRow(runtime=item.runtime, scheme=item.scheme, call=item.call, timing=timing)
                    for (item, _), timing in zip(batch, timings, strict=True)
                ]
                pace.note(rows)
                part.add(rows, faults, time.monotonic() - start)
                share_done = min(1.0, part.seconds / seconds)
                yield Step(said=" ".join(run), rows=len(part.rows), share=share_done)
            part.take(len(ahead))
            whole.measure(last=True)


def _next_batch(
    part: CpuPart, ahead: list[Item], pace: _Pace
) -> tuple[list[tuple[Item, Replay]], list[str]]:
    """Take calls that are timed together, each run once; and what could not be run, and why."""
    batch: list[tuple[Item, Replay]] = []
    faults: list[str] = []
    held = 0
    while ahead and len(batch) < _BATCH_CALLS and held < _BATCH_BYTES:
        item = ahead.pop(0)
        part.take()
        if pace.slow(item):
            continue
        try:
            make = library_replay if item.runtime == "cpu-inductor" else replay_of
            replay = make(item.call, DTYPES[item.scheme], _SEED)
            first = time.monotonic()
            replay.run()
            pace.first(item, (time.monotonic() - first) * 1e3)
        except RuntimeError as error:
            # A call that a machine does not run must not cost the others.
            said = str(error).splitlines()[0]
            faults.append(f"{item.scheme} {item.call.name}: {said}")
            continue
        held += replay.nbytes
        batch.append((item, replay))
    return batch, faults


def time_in_rounds(replays: Sequence[Replay], *, rounds: int) -> list[Timing]:
    """Time calls in turns: each once a round, its memory as an operation before leaves it.

    That one has just written what the call reads, and the memory that it freed itself is what the
    call gets for its results: both are in the caches, weights and code are not.
    """
    walls: list[list[float]] = [[] for _ in replays]
    cpus: list[list[float]] = [[] for _ in replays]
    sizes: list[list[int]] = []
    for replay in replays:
        made = tree_leaves(replay.run())
        sizes.append([x.nbytes for x in made if isinstance(x, torch.Tensor)])
    for _ in range(rounds):
        for replay, made, wall, cpu in zip(replays, sizes, walls, cpus, strict=True):
            if wall and sum(wall) > _SLOW_MS:
                continue
            _write(made)
            replay.touch()
            start, spent = time.perf_counter_ns(), time.process_time_ns()
            replay.run()
            cpu.append((time.process_time_ns() - spent) * 1e-6)
            wall.append((time.perf_counter_ns() - start) * 1e-6)
    kept = [[x for x in wall if x <= _STALLED * min(wall)] for wall in walls]
    return [timing_of_samples(wall, min(cpu)) for wall, cpu in zip(kept, cpus, strict=True)]


def _write(sizes: Sequence[int]) -> None:
    """Write memory of these sizes and give it back to the allocator."""
    held = [torch.empty(size, dtype=torch.uint8).zero_() for size in sizes]
    held.clear()


def finish_cpu(part: CpuPart, out: Path) -> CpuProfile:
    """Write the table of all that was measured, and remove the part file.

    Raises:
        ProfileError: nothing was measured.
    """
    if not part.rows:
        raise ProfileError("a profile needs at least one row; none was measured: give more seconds")
    facts = {
        **part.facts,
        "finished": _now(),
        "clocks_at_end": clocks_of(torch.device("cpu")),
        "seconds": round(part.seconds, 1),
        "faults": part.faults,
    }
    profile = CpuProfile(machine=part.machine, rows=tuple(part.rows), facts=facts)
    write_cpu_profile(profile, out)
    part.path.unlink(missing_ok=True)
    return profile


class _Pace:
    """Foresees from measured calls of similar work which would take too long."""

    def __init__(self, part: CpuPart) -> None:
        self._known: dict[tuple[object, ...], list[tuple[float, float]]] = {}
        self.note(part.rows)

    def note(self, rows: Sequence[CallRow]) -> None:
        """Learn from measured calls."""
        for row in rows:
            if row.network is not None:
                continue
            self._add((row.runtime, row.scheme, *routine(row.call)), row.call, row.timing.min_ms)

    def first(self, item: Item, taken_ms: float) -> None:
        """Learn from a call's first run, where it took so long that a second would be too much."""
        if taken_ms > 5e3 * _MOST_SECONDS:
            self._add((item.runtime, item.scheme, *routine(item.call)), item.call, taken_ms)

    def slow(self, item: Item) -> bool:
        """Whether a call would take too long."""
        known = self._known.get((item.runtime, item.scheme, *routine(item.call)))
        if not known:
            return False
        work = work_of(item.call)
        near = sorted(known, key=lambda pair: abs(math.log(pair[0] / work)))[:_NEAR]
        # The fastest of them: others may have waited for a processor.
        foreseen = min(taken * max(1.0, work / its) for its, taken in near)
        return foreseen > _MOST_SECONDS * 1e3

    def _add(self, kind: tuple[object, ...], call: OneCall, taken_ms: float) -> None:
        self._known.setdefault(kind, []).append((work_of(call), taken_ms))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
