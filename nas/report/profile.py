"""What a profile holds, as a table and as JSON (`docs/json.md`)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from hwprofile.profile_table import Profile, summary

_VERSION = 1


def profile_table(profile: Profile, path: Path) -> Table:
    """One row an operator, precision and backend; where and when it was measured below."""
    machine, facts = profile.machine, profile.facts
    threads = f", {machine.threads} threads" if machine.threads else ""
    triton = f", Triton {machine.triton}" if machine.triton else ""
    faults = facts.get("faults") or ()
    caption = (
        f"{len(profile.rows)} rows of {facts.get('layers', '?')} layers in {facts.get('seconds')} s"
        f"{f', {len(faults)} not run' if faults else ''}; torch {machine.torch}{triton}{threads}; "
        f"{facts.get('finished')}\n{path}"
    )
    names = ("operator", "precision", "by")
    return times_table(machine.device, caption, names, summary(profile.rows))


def times_table(
    device: str,
    caption: str,
    names: Sequence[str],
    times: Mapping[tuple[str, str, str], Sequence[float]],
) -> Table:
    """Times in ms by what was measured: a row for each, under three names."""
    table = Table(
        title=f"measured on {device}",
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in names:
        table.add_column(name)
    for name in ("rows", "fastest ms", "median ms", "slowest ms"):
        table.add_column(name, justify="right")
    for key, found in times.items():
        figures = (min(found), statistics.median(found), max(found))
        table.add_row(*key, str(len(found)), *(f"{figure:.3g}" for figure in figures))
    return table


def profile_record(profile: Profile, path: Path) -> dict[str, Any]:
    """For `--json`: where the rows are, and what they are of."""
    return {
        "format": "nas-profile-summary",
        "version": _VERSION,
        "out": str(path),
        "machine": asdict(profile.machine),
        "facts": dict(profile.facts),
        "rows": len(profile.rows),
        "operators": [
            {
                "op": op,
                "scheme": scheme,
                "backend": backend,
                "rows": len(times),
                "min_ms": min(times),
                "q50_ms": statistics.median(times),
                "max_ms": max(times),
            }
            for (op, scheme, backend), times in summary(profile.rows).items()
        ],
    }
