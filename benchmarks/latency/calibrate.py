"""Prints how much a few measured networks improve the prices of others.

    python -m benchmarks.latency.calibrate --data DIR [--models 300] [--trials 20] [--json]

Whole models of timm on an RTX 3090 (`rtx3090_timm_infer.parquet`): some calibrate the target, drawn
at random again and again, and all others judge it. The baseline is the same target without them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.latency.models import rtx3090_lines
from benchmarks.latency.zoo import import_timm, record_of
from hwprofile.calibration import HOST, calibrate
from hwprofile.runtime import RUNTIMES, launches
from hwprofile.targets import get_target
from hwprofile.trace import TraceError
from predictors.latency import priced

COUNTS = (5, 10, 20, 50)
"""Networks that calibrate."""


def parts_of(data: Path, models: int) -> tuple[list[Mapping[str, float]], list[float]]:
    """Priced ms of each kind of kernel, and published ms, of a fixed random sample of models."""
    lines, names = rtx3090_lines(data), set(import_timm().list_models())
    Random(0).shuffle(lines)
    target, runtime = get_target("rtx3090", runtime="eager"), RUNTIMES["eager"]
    parts: list[Mapping[str, float]] = []
    times: list[float] = []
    for line in lines:
        if len(parts) == models:
            break
        batch = int(line["batch_size"])
        if line["model"] not in names:
            continue
        try:
            record = record_of(line["model"], int(line["img_size"]), batch)
        except (TraceError, RuntimeError, AssertionError):
            continue
        sums: dict[str, float] = {}
        for one in priced(target, launches(record, runtime, "fp16")):
            sums[one.kernel.op] = sums.get(one.kernel.op, 0.0) + one.estimate.value
            if one.host is not None:
                sums[HOST] = sums.get(HOST, 0.0) + one.host.value
        parts.append(sums)
        times.append(batch / float(line["samples_per_sec"]) * 1e3)
    return parts, times


def total(part: Mapping[str, float], factors: Mapping[str, float], other: float) -> float:
    """Latency of a network with factors."""
    host = part.get(HOST, 0.0) * factors.get(HOST, other)
    device = sum(ms * factors.get(kind, other) for kind, ms in part.items() if kind != HOST)
    return max(device, host)


def judged(
    parts: list[Mapping[str, float]], times: list[float], count: int, random: Random
) -> tuple[float, float, float]:
    """Median error of the others without and with a calibration, and the share in its range."""
    chosen = set(random.sample(range(len(parts)), count))
    found = calibrate([parts[i] for i in chosen], [times[i] for i in chosen])
    others = [i for i in range(len(parts)) if i not in chosen]
    plain = [total(parts[i], {}, 1.0) / times[i] for i in others]
    better = [total(parts[i], found.factors, found.other) / times[i] for i in others]
    inside = [found.low * b <= 1.0 <= found.high * b for b in better]
    return (
        float(np.median(np.abs(np.subtract(plain, 1)))),
        float(np.median(np.abs(np.subtract(better, 1)))),
        float(np.mean(inside)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    parts, times = parts_of(args.data, args.models)
    rows = {}
    for count in COUNTS:
        random = Random(count)
        found = [judged(parts, times, count, random) for _ in range(args.trials)]
        rows[count] = [float(x) for x in np.median(found, axis=0)]
    if args.json:
        print(json.dumps({"models": len(parts), "rows": rows}, indent=1))
        return
    table = Table(title=f"RTX 3090, {len(parts)} models, medians of {args.trials} draws")
    for name in ("networks", "error before", "error after", "inside the 90 % range"):
        table.add_column(name, justify="right")
    for count, shares in rows.items():
        table.add_row(str(count), *(f"{share:.1%}" for share in shares))
    Console().print(table)


if __name__ == "__main__":
    main()
