"""The design that a path stands for: a run's, an exported folder's, or a file's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nas.config import Config
from nas.export.errors import ExportError
from nas.export.folder import ARCHITECTURE, load, read_architecture
from nas.export.weights import WEIGHTS, are_trained
from nas.plugins import add_primitives
from searchspace.architecture import Architecture
from searchspace.shapes import TensorSpec
from searchspace.text import from_text

_BEST, _RESULT, _CONFIG = "best", "result.json", "config.json"


@dataclass(frozen=True, kw_only=True)
class Design:
    """One design with what is known of it."""

    architecture: Architecture
    spec: TensorSpec
    """Input of its network."""
    facts: Mapping[str, Any]
    """Figures and settings that were recorded with it."""
    weights: nn.Module | None
    """The network with its weights; None where none were saved."""
    trained: bool = False
    """Whether the weights were trained."""


def design_of(path: Path, key: str | None) -> Design:
    """Read a design; the primitives that a run was given are taken in again.

    Args:
        path: a run's folder, an exported folder, or an architecture file.
        key: of a run: the design of its front with this key, instead of the best.

    Raises:
        ExportError: nothing readable is there, or the run's front has no such key.
        PluginError, PrimitiveError: a primitive of the run is there no longer.
    """
    if (path / _CONFIG).exists():
        return _of_run(path, key)
    if key is not None:
        raise ExportError(f"--key chooses from a run's front, but {path} is no run's folder")
    return _of_export(path)


def _of_export(path: Path) -> Design:
    architecture, spec, facts = read_architecture(path)
    folder = path if path.is_dir() else path.parent
    owns_weights = (folder / WEIGHTS).exists() and path.name in (ARCHITECTURE, folder.name)
    weights = load(folder) if owns_weights else None
    return Design(
        architecture=architecture,
        spec=spec,
        facts=facts,
        weights=weights,
        trained=owns_weights and are_trained(folder / WEIGHTS),
    )


def _of_run(run: Path, key: str | None) -> Design:
    if not (run / _BEST).is_dir():
        raise ExportError(f"{run} has no result yet: finish it with 'nas resume {run}'")
    add_primitives(_primitives(run))
    best = _of_export(run / _BEST)
    if key is None or key == best.architecture.key:
        return best
    try:
        front = json.loads((run / _RESULT).read_text("utf-8"))["front"]
        rows = {row["key"]: row for row in front}
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as fault:
        raise ExportError(f"{run / _RESULT} cannot be read: {fault}") from None
    if key not in rows:
        raise ExportError(f"the front of {run} has no design '{key}'; it has {', '.join(rows)}")
    row = rows[key]
    root = from_text(row["architecture"])
    settings = {
        n: best.facts[n] for n in ("target", "runtime", "batch", "precision") if n in best.facts
    }
    figures = {n: value for n, value in row.items() if isinstance(value, int | float)}
    return Design(
        architecture=Architecture(space=best.architecture.space, root=root),
        spec=best.spec,
        facts={**settings, **figures},
        weights=None,
    )


def _primitives(run: Path) -> tuple[str, ...]:
    """The primitives that a run was given."""
    try:
        return Config.from_json(json.loads((run / _CONFIG).read_text("utf-8"))).primitives
    except (OSError, ValueError, TypeError) as fault:
        raise ExportError(f"{run / _CONFIG} cannot be read: {fault}") from None
