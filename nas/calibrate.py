"""Reads a file of measured networks and calibrates a target by it.

A CSV with a line for each network. It MUST have the columns `network` (an exported folder or
`package.module:callable`) and `latency_ms`; it MAY have `batch`, `resolution` and `precision`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from hwprofile.calibration import HOST, CalibratedTarget, CalibrationError, calibrate
from hwprofile.target import Target
from nas.predict import predict_network

NEEDED = ("network", "latency_ms")
OPTIONAL = ("batch", "resolution", "precision")


def calibrated(target: Target, path: Path) -> CalibratedTarget:
    """A target corrected by the networks of a file.

    Raises:
        CalibrationError: the file is missing, has other columns, or a line with no time above 0.
        UsageError, PluginError, TraceError: a network cannot be priced.
    """
    lines = _read(path)
    parts, measured = [], []
    for number, line in enumerate(lines, start=1):
        measured.append(_number(path, number, "latency_ms", line["latency_ms"]))
        sizes = {
            name: round(_number(path, number, name, line[name])) if line.get(name) else None
            for name in ("batch", "resolution")
        }
        found = predict_network(
            line["network"],
            target,
            batch=sizes["batch"],
            resolution=sizes["resolution"],
            precision=line.get("precision") or None,
        )
        sums: dict[str, float] = {}
        for row in found["kernels"]:
            sums[row["op"]] = sums.get(row["op"], 0.0) + row["latency_ms"]
        if found["host_ms"]:
            sums[HOST] = found["host_ms"]
        parts.append(sums)
    return CalibratedTarget(target, calibrate(parts, measured))


def _read(path: Path) -> list[Mapping[str, str]]:
    if not path.is_file():
        raise CalibrationError(f"a file of measured networks must exist; there is none at '{path}'")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        missing = [name for name in NEEDED if name not in names]
        unknown = [name for name in names if name not in (*NEEDED, *OPTIONAL)]
        if missing or unknown:
            raise CalibrationError(
                f"{path}: the columns are {', '.join(NEEDED)} and perhaps {', '.join(OPTIONAL)}; "
                f"got {', '.join(names) or 'none'}"
            )
        return list(reader)


def _number(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise CalibrationError(f"{path}, line {line}: {name} must be above 0; got {text!r}")
    return value
