"""The outcome of a run as one JSON object. Documented in `docs/json.md`; only ever added to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nas.pareto import Front
from nas.trial import Trial
from searchspace.architecture import Architecture

FORMAT, VERSION = "nas-result", 1
_ALWAYS = ("score", "latency_ms", "low_ms", "high_ms")
_COUNTS = ("macs", "params", "peak_bytes", "weight_bytes")
_WITH_DATA = ("accuracy", "test_accuracy")


def design(trial: Trial, extra: Mapping[str, float] | None = None) -> dict[str, Any]:
    """One design: its architecture and what was found of it."""
    values = {**trial.values, **(extra or {})}
    record: dict[str, Any] = {
        "architecture": trial.architecture.text,
        "key": trial.architecture.key,
    }
    record |= {name: values[name] for name in _ALWAYS if name in values}
    record |= {name: int(values[name]) for name in _COUNTS if name in values}
    record |= {name: values[name] for name in ("effectiveness", *_WITH_DATA) if name in values}
    return record


def result(
    run: Path,
    best: Trial,
    front: Front,
    *,
    extra: Mapping[str, float] | None = None,
    looks: Callable[[Architecture], Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The whole outcome.

    Args:
        run: the run's folder.
        best: the chosen trial.
        front: the Pareto front, best first.
        extra: figures of the chosen design alone, such as its test accuracy.
        looks: what a design looks like: see `nas.report.form`; None: that is left out.
    """

    def row(trial: Trial, extra: Mapping[str, float] | None = None) -> dict[str, Any]:
        return {**design(trial, extra), **(looks(trial.architecture) if looks else {})}

    return {
        "format": FORMAT,
        "version": VERSION,
        "run": str(run),
        "best": row(best, extra),
        "front": [row(trial) for trial in front],
    }
