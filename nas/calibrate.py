"""Calibrates a target by measured networks: those of a file, or those of a run that was verified.

The file is a CSV with a line for each network. It MUST have the columns `network` (an exported
folder or `package.module:callable`) and `latency_ms`; it MAY have `batch`, `resolution` and
`precision`.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hwprofile.blocks import BlockTable
from hwprofile.calibration import HOST, LEAST, CalibratedTarget, CalibrationError, calibrate
from hwprofile.target import Target
from nas.predict import predict_network
from nas.verify import measured_networks
from predictors.latency import LatencyPredictor

NEEDED = ("network", "latency_ms")
OPTIONAL = ("batch", "resolution", "precision")


class _Measured(NamedTuple):
    """One network: its priced ms by kind of kernel, and the ms that it took."""

    parts: Mapping[str, float]
    taken_ms: float


def calibrated(target: Target, path: Path) -> CalibratedTarget:
    """A target corrected by networks that were measured there.

    Args:
        target: not calibrated yet.
        path: of the CSV, or the folder of a run that `nas verify` measured in the target's runtime.

    Raises:
        CalibrationError: the file is missing, has other columns, or a line with no time above 0; or
            too few networks were measured on this target in its runtime.
        UsageError, PluginError, TraceError: a network cannot be priced.
        RecordError: there is no finished run, or its files are damaged.
    """
    networks = list(_of_run(target, path) if path.is_dir() else _of_file(target, path))
    parts, taken = [one.parts for one in networks], [one.taken_ms for one in networks]
    return CalibratedTarget(target, calibrate(parts, taken))


def _of_file(target: Target, path: Path) -> Iterator[_Measured]:
    for number, line in enumerate(_read(path), start=1):
        taken = _number(path, number, "latency_ms", line["latency_ms"])
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
        kernels = ((row["op"], row["latency_ms"]) for row in found["kernels"])
        yield _Measured(_parts(kernels, found["host_ms"] or 0.0), taken)


def _of_run(target: Target, folder: Path) -> Iterator[_Measured]:
    networks = measured_networks(folder, target)
    if len(networks) < LEAST:
        raise CalibrationError(
            f"a calibration needs at least {LEAST} networks measured on {target.name} in "
            f"{target.runtime.name}; {folder} holds {len(networks)}: nas verify {folder} "
            f"--target {target.name} --runtime {target.runtime.name}"
        )
    for network in networks:
        table = BlockTable(
            network.spec,
            batch=network.batch,
            precision=network.precision,
            runtime=target.runtime,
        )
        blocks = LatencyPredictor(target).breakdown(table.costs(network.root))
        launched = [kernel for block in blocks for kernel in block]
        kernels = ((one.kernel.op, one.estimate.value) for one in launched)
        sent = sum(one.host.value for one in launched if one.host)
        yield _Measured(_parts(kernels, sent), network.measured_ms)


def _parts(kernels: Iterable[tuple[str, float]], host_ms: float) -> Mapping[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for kind, price in kernels:
        sums[kind] += price
    if host_ms:
        sums[HOST] = host_ms
    return sums


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
