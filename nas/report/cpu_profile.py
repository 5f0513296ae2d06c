"""What a CPU's profile holds, as a table and as JSON (`docs/json.md`)."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from hwprofile.cpu_table import CpuProfile
from nas.report.profile import times_table

_VERSION = 1


def cpu_profile_table(profile: CpuProfile, path: Path) -> Table:
    """One row an operation, runtime and precision; where and when it was measured below."""
    machine, facts = profile.machine, profile.facts
    faults = facts.get("faults") or ()
    caption = (
        f"{len(profile.rows)} rows in {facts.get('seconds')} s"
        f"{f', {len(faults)} not run' if faults else ''}; torch {machine.torch}, "
        f"{machine.threads} threads, {machine.instructions}; {facts.get('finished')}\n{path}"
    )
    names = ("operation", "runtime", "precision")
    return times_table(machine.device, caption, names, _times(profile))


def cpu_profile_record(profile: CpuProfile, path: Path) -> dict[str, Any]:
    """For `--json`: where the rows are, and what they are of."""
    return {
        "format": "nas-cpu-profile-summary",
        "version": _VERSION,
        "out": str(path),
        "machine": asdict(profile.machine),
        "facts": dict(profile.facts),
        "rows": len(profile.rows),
        "operations": [
            {
                "op": op,
                "runtime": runtime,
                "scheme": scheme,
                "rows": len(times),
                "min_ms": min(times),
                "q50_ms": statistics.median(times),
                "max_ms": max(times),
            }
            for (op, runtime, scheme), times in _times(profile).items()
        ],
    }


def _times(profile: CpuProfile) -> dict[tuple[str, str, str], list[float]]:
    """Medians in ms by operation, runtime and precision, the most frequent operations first."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in profile.rows:
        name = "whole network" if row.network else row.call.name.split(".")[1]
        key = (name, row.runtime, row.scheme)
        found.setdefault(key, []).append(row.timing.q50_ms)
    counts: dict[str, int] = {}
    for (op, _, _), times in found.items():
        counts[op] = counts.get(op, 0) + len(times)
    return dict(sorted(found.items(), key=lambda item: (-counts[item[0][0]], item[0])))
