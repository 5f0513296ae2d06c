"""An exported folder: written whole or not at all, and read back.

`architecture.json` is what counts: the network is always built from its tree. `model.py` and
`README.md` are for people and for places without this package; neither is ever read or executed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from nas.export.errors import ExportError
from nas.export.facts import Fact, Facts, checked
from nas.export.guide import guide
from nas.export.source import check_names, module_source
from nas.export.weights import WEIGHTS, loaded, packed
from searchspace.architecture import Architecture
from searchspace.build import flow
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.text import TreeTextError

FORMAT = "nas-architecture"
VERSION = 1
ARCHITECTURE, SOURCE, GUIDE = "architecture.json", "model.py", "README.md"
__all__ = [
    "ARCHITECTURE",
    "GUIDE",
    "SOURCE",
    "WEIGHTS",
    "ExportError",
    "export",
    "load",
    "read_architecture",
]
_OURS = {ARCHITECTURE, SOURCE, GUIDE, WEIGHTS, "__pycache__"}


def export(
    architecture: Architecture,
    spec: TensorSpec,
    folder: str | Path,
    *,
    weights: nn.Module | None = None,
    trained: bool = True,
    seed: int = 0,
    facts: Facts | None = None,
) -> Path:
    """Write an architecture as a folder that stands alone.

    An export that stands at `folder` already is replaced, at once; whatever interrupts the writing,
    the old one or nothing stands there, never a part.

    Args:
        architecture: what to write.
        spec: its input, without the batch.
        folder: where; folders above it are made.
        weights: a network that has them, with the names of `searchspace.build.build`; none: fresh
            ones are drawn.
        trained: whether `weights` were trained, which the folder then says; fresh ones are not.
        seed: what fresh weights are drawn from; is noted for trained ones too.
        facts: figures to keep with it; `nas.export.facts` says which are known.

    Returns:
        The folder.

    Raises:
        ExportError: something else stands at `folder`, the weights do not fit, a fact is no plain
            value, or a layer's source cannot stand alone.
        ShapeError: the architecture does not serve the input.
        OSError: the disk is full or fails.
    """
    folder = Path(folder)
    known = checked(facts or {})
    trained = trained and weights is not None
    # Of untrained weights that were handed over, nobody here knows what they were drawn from.
    drawn = seed if trained or weights is None else None
    _refuse_foreign(folder)
    contents = {
        ARCHITECTURE: (json.dumps(_record(architecture, spec, known), indent=2) + "\n").encode(),
        SOURCE: module_source(architecture, spec, facts=known).encode(),
        WEIGHTS: packed(architecture, spec, weights, trained=trained, seed=drawn),
        GUIDE: guide(architecture, spec, trained=trained, seed=drawn, facts=known).encode(),
    }
    _place(contents, folder.resolve())
    return folder


def read_architecture(path: str | Path) -> tuple[Architecture, TensorSpec, dict[str, Fact]]:
    """The architecture, its input and the facts of an exported folder or an `architecture.json`.

    Raises:
        ExportError: there is none, it is damaged, or a newer release wrote it.
    """
    path = Path(path)
    if path.is_dir():
        path = path / ARCHITECTURE
    try:
        record = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ExportError(
            f"{path} is missing: give a folder that 'nas export' wrote, or its {ARCHITECTURE}"
        ) from None
    except (OSError, ValueError, RecursionError) as fault:
        raise ExportError(_damaged(path, fault)) from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ExportError(
            f'{path} is no exported architecture, which says "format": "{FORMAT}": give a '
            f"folder that 'nas export' wrote, or its {ARCHITECTURE}"
        )
    if record.get("version") != VERSION:
        raise ExportError(
            f"{path} has version {record.get('version')}, but this release reads {VERSION}: use "
            "the release that wrote it"
        )
    try:
        architecture = Architecture.from_json(record)
        check_names(architecture)
        spec = _spec(record.get("input"))
        out = flow(architecture.root, spec)
        facts = checked(_object(record.get("facts", {}), "facts"))
    except (TreeTextError, ShapeError, ExportError) as fault:
        raise ExportError(_damaged(path, fault)) from None
    if record.get("classes") != _classes(out):
        raise ExportError(_damaged(path, f"the tree gives {out}, not the classes it states"))
    return architecture, spec, facts


def load(folder: str | Path) -> nn.Module:
    """The network of an exported folder, on the CPU, in evaluation mode.

    It is built from `architecture.json`; `model.py` is not executed.

    Raises:
        ExportError: a file is missing or damaged, or the weights are not those of the architecture.
    """
    folder = Path(folder)
    architecture, spec, _ = read_architecture(folder)
    return loaded(architecture, spec, folder / WEIGHTS).eval()


def _record(architecture: Architecture, spec: TensorSpec, facts: dict[str, Fact]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        **architecture.to_json(),
        "input": {"mode": spec.mode, "shape": list(spec.shape)},
        "classes": _classes(flow(architecture.root, spec)),
        "facts": facts,
    }


def _classes(out: TensorSpec) -> int | None:
    return out.channels if out.mode == "vector" else None


def _spec(record: object) -> TensorSpec:
    found = _object(record, "input")
    mode, shape = found.get("mode"), found.get("shape")
    if mode not in ("image", "tokens", "vector"):
        raise ExportError(f"the input's mode must be image, tokens or vector; got {mode!r}")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise ExportError(f"the input's shape must be a list of integers; got {shape!r}")
    return TensorSpec(mode, tuple(shape))


def _object(record: object, name: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise ExportError(f"'{name}' must be an object; got {record!r}")
    return record


def _damaged(path: Path, fault: object) -> str:
    return f"{path} is damaged ({fault}): restore it, or export the architecture again"


def _refuse_foreign(folder: Path) -> None:
    """Raise unless `folder` is free, empty, or an export that may be replaced."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ExportError(f"{folder} is no folder: give another place, or move it away")
    names = {entry.name for entry in folder.iterdir()}
    if not names:
        return
    foreign = sorted(names - _OURS)
    if foreign or not _is_export(folder / ARCHITECTURE):
        what = f"'{foreign[0]}', which is no part of an export" if foreign else "no export"
        raise ExportError(f"{folder} holds {what}: give another folder, or move its contents away")


def _is_export(path: Path) -> bool:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("format") == FORMAT


def _place(contents: dict[str, bytes], folder: Path) -> None:
    """Write files into a new folder and move it to `folder` once all are on disk."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    new, old = work / "new", work / "old"
    try:
        new.mkdir()
        for name, content in contents.items():
            _write(new / name, content)
        if folder.exists():
            os.rename(folder, old)
        try:
            os.rename(new, folder)
        except BaseException:
            if old.exists():
                os.rename(old, folder)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
