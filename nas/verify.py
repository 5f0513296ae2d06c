"""Measures networks of a run's front on this machine, and holds their predictions against it.

Every network that was measured is a line of `verified.jsonl` in the run's folder, so that a
measurement that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from hwprofile.blocks import BlockTable
from hwprofile.clock import Timing
from hwprofile.cpu_target import CpuTarget
from hwprofile.estimate import Estimate
from hwprofile.machine import device_here, machine_of
from hwprofile.target import Target
from hwprofile.whole import DTYPES, Network, forget_compiled, ready, time_networks
from nas.assemble import target_of
from nas.config import Config
from nas.plugins import add_primitives
from nas.record import RecordError, read_config, read_result
from nas.usage import UsageError
from predictors.latency import LatencyPredictor
from searchspace.build import calls, sequence_of
from searchspace.shapes import TensorSpec, image
from searchspace.text import TreeTextError, from_text
from searchspace.tree import FLOAT, Node, walk

VERIFIED = "verified.jsonl"
CONDITIONS = ("target", "runtime", "precision", "batch", "machine")
"""What a measurement is valid for: part of its line."""
GROUP = 4
"""Networks that are timed turn by turn together; torch.compile keeps no more than 8."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """One network with what was predicted and what was measured."""

    key: str
    """Its identity."""
    predicted: Estimate
    """Latency with its range, in ms."""
    timing: Timing
    """What it took here, in ms."""

    @property
    def measured_ms(self) -> float:
        """The figure that counts: the median, as prices are fitted to medians."""
        return self.timing.q50_ms

    @property
    def inside(self) -> bool:
        """Whether it lies in the predicted range."""
        return self.predicted.low <= self.measured_ms <= self.predicted.high

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted.value / self.measured_ms - 1.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One network with what it took."""

    root: Node
    """Its tree."""
    spec: TensorSpec
    """Its input."""
    batch: int
    """Images in one forward pass."""
    precision: str
    """Scheme of blocks that have none of their own."""
    measured_ms: float
    """As that of `Verified`."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be measured, on what."""

    folder: Path
    config: Config
    """With the target that counts here."""
    target: Target
    device: torch.device
    networks: Mapping[str, tuple[Node, Estimate]]
    """Trees and predictions, by key, in the order of the front."""
    left_out: tuple[str, ...]
    """Keys of networks with quantized blocks: no module here runs them."""

    @cached_property
    def spec(self) -> TensorSpec:
        """Input of the networks."""
        return _input(self.config)

    @cached_property
    def conditions(self) -> dict[str, Any]:
        """What a measurement is valid for, in the order of `CONDITIONS`."""
        found = (
            self.target.name,
            self.target.runtime.name,
            self.config.precision,
            self.config.batch,
            asdict(machine_of(self.device)),
        )
        return dict(zip(CONDITIONS, found, strict=True))


def plan(
    folder: Path,
    *,
    target: str | None = None,
    runtime: str | None = None,
    limit: int | None = None,
) -> Task:
    """Read a run's front, and find out whether this machine is what it was predicted for.

    Args:
        folder: of a finished run.
        target: what to predict for and measure instead of the run's target: one of this machine.
        runtime: likewise.
        limit: at most so many networks, spread evenly over the front; None: all.

    Raises:
        UsageError: this machine is not the target, or none of the networks can be run.
        RecordError: there is no finished run, or its files are damaged.
    """
    config = read_config(folder)
    rows = read_result(folder)["front"]
    add_primitives(config.primitives)
    own = target is None and runtime is None
    if not own:
        config = replace(config, target=target or config.target, runtime=runtime, calibration=None)
    priced = target_of(config)
    device = device_here(config.target)
    if device is None or device.type != priced.runtime.kind:
        raise UsageError(_elsewhere(folder, config.target))
    if config.precision not in priced.schemes or config.precision not in DTYPES:
        if own:
            raise UsageError(
                f"networks are measured in {', '.join(DTYPES)}, but the run's are predicted in "
                f"{config.precision}"
            )
        config = replace(config, precision=priced.default_scheme)
    trees = {row["key"]: (_tree(folder, row), row) for row in _spread(rows, limit)}
    left_out = tuple(key for key, (root, _) in trees.items() if _quantized(root))
    kept = {key: found for key, found in trees.items() if key not in left_out}
    if not kept:
        raise UsageError(
            f"every network of {folder} has quantized blocks, which no module here runs: only "
            "networks in float can be measured"
        )
    task = Task(
        folder=folder,
        config=config,
        target=priced,
        device=device,
        networks={},
        left_out=left_out,
    )
    predicted = _recorded(kept) if own else _predicted(task, kept)
    return replace(task, networks={key: (root, predicted[key]) for key, (root, _) in kept.items()})


def known(task: Task) -> dict[str, Verified]:
    """What the run's folder holds of these networks, measured under these conditions.

    Raises:
        RecordError: a line is none that `verify` writes.
    """
    found = {}
    for key, timing, conditions in _lines(task.folder):
        if conditions == task.conditions and key in task.networks:
            found[key] = Verified(key=key, predicted=task.networks[key][1], timing=timing)
    return found


def measured_networks(folder: Path, target: Target) -> list[Measured]:
    """What a run's folder holds of networks that were measured on a target, in its runtime.

    Raises:
        RecordError: there is no finished run, or its files are damaged.
    """
    config = read_config(folder)
    add_primitives(config.primitives)
    rows = {row["key"]: row for row in read_result(folder)["front"]}
    asked: dict[str, Any] = {"target": target.name, "runtime": target.runtime.name}
    if isinstance(target, CpuTarget):  # one name for all of them
        asked["machine"] = asdict(target.machine)
    found = {}
    for key, timing, conditions in _lines(folder):
        if asked.items() <= conditions.items() and key in rows:
            found[key] = Measured(
                root=_tree(folder, rows[key]),
                spec=_input(config),
                batch=conditions["batch"],
                precision=conditions["precision"],
                measured_ms=timing.q50_ms,
            )
    return list(found.values())


def _lines(folder: Path) -> Iterator[tuple[str, Timing, dict[str, Any]]]:
    """Key, times and conditions of every measurement, oldest first."""
    path = folder / VERIFIED
    if not path.exists():
        return
    lines = path.read_text("utf-8").split("\n")
    for line in lines[:-1]:  # behind the last line end there is nothing, or a line cut short
        try:
            record = json.loads(line)
            key, timing = record["key"], Timing(**record["timing"])
            conditions = {name: record[name] for name in CONDITIONS}
        except (ValueError, KeyError, TypeError) as fault:
            raise RecordError(
                f"{path} is damaged ({type(fault).__name__}: {fault}): delete it, and the networks "
                "are measured again"
            ) from None
        yield key, timing, conditions


def measure(
    task: Task, done: Mapping[str, Verified], *, seconds: float
) -> Iterator[str | list[Verified]]:
    """Measure the networks that are not done yet, a few at a time.

    Args:
        task: what to measure.
        done: what need not be.
        seconds: about how long each network is timed.

    Yields:
        The key of a network before it is made ready; the results of some, which are on disk then.
    """
    waiting = [key for key in task.networks if key not in done]
    for first in range(0, len(waiting), GROUP):
        networks = {}
        for key in waiting[first : first + GROUP]:
            yield key
            networks[key] = _ready(task, task.networks[key][0])
        timings = time_networks(networks, seconds=seconds)
        del networks
        if task.target.runtime.fuses:
            forget_compiled()
        found = [
            Verified(key=key, predicted=task.networks[key][1], timing=timing)
            for key, timing in timings.items()
        ]
        _append(task, found)
        yield found


def _input(config: Config) -> TensorSpec:
    return image(config.channels, config.resolution, config.resolution)


def _ready(task: Task, root: Node) -> Network:
    """The network as it runs at inference, freshly initialised, always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = sequence_of(calls((root,), task.spec)[0], merged=True).eval()
    return ready(
        module,
        (task.config.batch, *task.spec.shape),
        task.target.runtime,
        task.config.precision,
        device=task.device,
    )


def _append(task: Task, found: Sequence[Verified]) -> None:
    conditions, date = task.conditions, datetime.now(UTC).isoformat(timespec="seconds")
    path = task.folder / VERIFIED
    _drop_cut_line(path)
    with path.open("a", encoding="utf-8") as file:
        for row in found:
            record = {"key": row.key, **conditions, "date": date, "timing": asdict(row.timing)}
            file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _drop_cut_line(path: Path) -> None:
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def _elsewhere(folder: Path, target: str) -> str:
    here = machine_of(torch.device("cpu")).device
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU that torch sees"
    return (
        f"the front of {folder} is predicted for {target}, and this machine is not that device: it "
        f"has {here}, and {gpu}; give --target cpu to price and measure the same networks on this "
        "machine's CPU instead"
    )


def _spread(rows: Sequence[Mapping[str, Any]], limit: int | None) -> list[Mapping[str, Any]]:
    """At most `limit` rows, evenly spread, both ends among them."""
    if limit is None or len(rows) <= limit:
        return list(rows)
    if limit == 1:
        return [rows[0]]
    return [rows[round(i * (len(rows) - 1) / (limit - 1))] for i in range(limit)]


def _tree(folder: Path, row: Mapping[str, Any]) -> Node:
    try:
        return from_text(row["architecture"])
    except (KeyError, TreeTextError) as fault:
        raise RecordError(f"a design of {folder}'s front is damaged: {fault}") from None


def _quantized(root: Node) -> bool:
    return any(node.scheme not in ("", FLOAT) for _, node in walk(root))


def _recorded(kept: Mapping[str, tuple[Node, Mapping[str, Any]]]) -> dict[str, Estimate]:
    """What the run said of its networks."""
    return {
        key: Estimate(value=row["latency_ms"], low=row["low_ms"], high=row["high_ms"])
        for key, (_, row) in kept.items()
    }


def _predicted(
    task: Task, kept: Mapping[str, tuple[Node, Mapping[str, Any]]]
) -> dict[str, Estimate]:
    """What the target says of them now."""
    config = task.config
    table = BlockTable(
        task.spec, batch=config.batch, precision=config.precision, runtime=task.target.runtime
    )
    latency = LatencyPredictor(task.target)
    return {key: latency.latency(table.costs(root)) for key, (root, _) in kept.items()}
