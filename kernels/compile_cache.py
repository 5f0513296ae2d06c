"""Records of compiled kernels on disk, so that each is compiled once a user.

One JSON file a record, named by a hash of all that the compilation depends on, in `NAS_CACHE_DIR`
or else the user's cache folder. A file appears whole, by renaming, so writers cannot disturb each
other. One that cannot be read, or does not match its own checksum, counts as absent and is
replaced. A folder that cannot be written to costs the cache, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FORMAT = 2  # Part of every key: raise it when a record's fields or their meaning change.


def cache_folder() -> Path:
    """Where records are kept: `NAS_CACHE_DIR`, `XDG_CACHE_HOME/nas` or `~/.cache/nas`."""
    if own := os.environ.get("NAS_CACHE_DIR"):
        return Path(own) / "kernels"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "nas" / "kernels"


def key_of(parts: Mapping[str, Any]) -> str:
    """Hash what a compilation depends on; equal parts give equal keys in every process."""
    return _digest({"format": _FORMAT, **parts})


def read(key: str) -> dict[str, Any] | None:
    """Return the record stored under a key; None if there is none, or none that is sound."""
    try:
        stored = json.loads(_path(key).read_text(encoding="utf-8"))
        record = stored["record"]
        sound = isinstance(record, dict) and stored["checksum"] == _digest(record)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if sound else None


def write(key: str, record: Mapping[str, Any]) -> None:
    """Store a record, which JSON must give back unchanged, under a key."""
    path = _path(key)
    text = json.dumps({"checksum": _digest(record), "record": record})
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _path(key: str) -> Path:
    return cache_folder() / key[:2] / f"{key}.json"


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
