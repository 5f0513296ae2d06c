"""Prints how far the prices of whole models are from published throughputs.

    python -m benchmarks.latency.models --data DIR [--sample 400] [--json]

`DIR` holds `a100_models_published.csv` and `rtx3090_timm_infer.parquet`, see docs/latency.md.
timm builds the models (see `zoo`). Each row is priced in the runtime that ran it: eager PyTorch
under autocast or in TF32, or, for TensorRT, the fused kernels of a CUDA graph. docs/latency.md says
which rows a constant was fitted to, and what was chosen after looking at others.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau, spearmanr

from benchmarks.latency.zoo import WIDE_GATES, import_timm, record_of
from hwprofile.record import Record
from hwprofile.runtime import get_runtime, launches
from hwprofile.targets import get_target
from hwprofile.trace import TraceError
from predictors.latency import priced, sums_of

TIMM_NAMES = {
    "efficientnet-b0": "efficientnet_b0",
    "efficientnet-b4": "efficientnet_b4",
    "efficientnet-widese-b0": "efficientnet_b0" + WIDE_GATES,
    "efficientnet-widese-b4": "efficientnet_b4" + WIDE_GATES,
    "EfficientNetV2-S": "tf_efficientnetv2_s",
    "EfficientNetV2-M": "tf_efficientnetv2_m",
    "EfficientViT-L1": "efficientvit_l1",
    "EfficientViT-L2": "efficientvit_l2",
    "EfficientViT-L3": "efficientvit_l3",
}
"""Published model to timm's."""
FITTED = ("efficientnet-b0", "EfficientNetV2-S", "EfficientNetV2-M")
"""Models with rows that a constant was fitted to (`hwprofile/constants.toml`)."""
ASSUMED_BATCH = 128
"""Where the source gives a throughput without a batch."""
DEVICE_BOUND = 16
"""Smallest batch that counts as one that keeps the device busy."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published throughput beside its price, in images per second."""

    model: str
    group: str
    resolution: int
    batch: int
    fitted: bool
    """Whether a constant was fitted to rows of this model."""
    published: float
    value: float
    low: float
    high: float
    host_bound: bool
    """Whether the host's time is the price."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How well prices do on the rows of a group."""

    group: str
    rows: int
    median_error: float
    """Median of |predicted / published - 1|."""
    median_ratio: float
    """Median of predicted / published throughput."""
    within_20: float
    coverage: float
    """Share of rows inside the range."""
    host_bound: float
    """Share of rows whose price is the host's time."""
    kendall: float
    spearman: float


class _Pricer:
    """Prices models on a device, each traced once for a batch."""

    def __init__(self, device: str) -> None:
        self._targets = {
            runtime: get_target(device, runtime=runtime) for runtime in ("cuda-graph", "eager")
        }
        self._records: dict[tuple[str, int, int], Record] = {}

    def price(
        self, name: str, resolution: int, batch: int, runtime: str, scheme: str
    ) -> dict[str, Any]:
        """`value`, `low`, `high` in images per second and `host_bound`, as a `Row` has them."""
        key = (name, resolution, batch)
        if key not in self._records:
            self._records = {key: record_of(name, resolution, batch)}
        kernels = launches(self._records[key], get_runtime(runtime), scheme)
        sums = sums_of(priced(self._targets[runtime], kernels))
        total, images = sums.total(), batch * 1e3
        return {
            "value": images / total.value,
            "low": images / total.high,
            "high": images / total.low,
            "host_bound": sums.host > sums.value,
        }


def a100_rows(data: Path) -> list[Row]:
    """All rows, in the runtime and scheme that ran them."""
    pricer, rows = _Pricer("a100"), []
    with (data / "a100_models_published.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    # The same model, size and batch one after the other: a record is traced once.
    table.sort(key=lambda line: (line["model"], int(line["resolution"]), line["batch"]))
    for line in table:
        batch = int(float(line["batch"])) if line["batch"] else ASSUMED_BATCH
        resolution, tf32 = int(line["resolution"]), line["precision"] == "tf32"
        runtime = "eager" if line["framework"] == "pytorch" else "cuda-graph"
        ran = ("TF32" if tf32 else "AMP") if runtime == "eager" else "TensorRT"
        size = f", batch {'>=' if batch >= DEVICE_BOUND else '<'} {DEVICE_BOUND}"
        name, scheme = TIMM_NAMES[line["model"]], "tf32" if tf32 else "fp16"
        rows.append(
            Row(
                model=line["model"],
                group=f"A100, {ran}" + (size if runtime == "eager" else ""),
                resolution=resolution,
                batch=batch,
                fitted=line["model"] in FITTED,
                published=float(line["img_per_s"]),
                **pricer.price(name, resolution, batch, runtime, scheme),
            )
        )
    return rows


def rtx3090_lines(data: Path) -> list[dict[str, Any]]:
    """Channels-last rows of the newest PyTorch, one for each model and resolution."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for line in pq.read_table(data / "rtx3090_timm_infer.parquet").to_pylist():
        rate = line["samples_per_sec"]
        newest = line["layout"] == "nhwc" and line["torch"] == "pt240"
        if newest and rate is not None and not math.isnan(rate):
            found.setdefault((line["model"], int(line["img_size"])), line)
    return list(found.values())


def rtx3090_rows(data: Path, sample: int) -> tuple[list[Row], Counter[str]]:
    """The rows of a fixed random sample of models (0: all), and why others are left out."""
    names = set(import_timm().list_models())
    lines, left = rtx3090_lines(data), Counter[str]()
    order = np.random.default_rng(0).permutation(len(lines)).tolist()
    pricer, rows = _Pricer("rtx3090"), []
    for index in order[: sample or None]:
        line = lines[index]
        model, resolution, batch = line["model"], int(line["img_size"]), int(line["batch_size"])
        if model not in names:
            left["unknown to this timm"] += 1
            continue
        try:
            price = pricer.price(model, resolution, batch, "eager", "fp16")
        except (TraceError, RuntimeError, AssertionError) as error:
            left[f"{model.split('_')[0]}: {type(error).__name__}"] += 1
            continue
        rows.append(
            Row(
                model=model,
                group="RTX 3090, AMP",
                resolution=resolution,
                batch=batch,
                fitted=False,
                published=float(line["samples_per_sec"]),
                **price,
            )
        )
    return rows, left


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Every group, and on the A100 all large batches together, with and without fitted models."""
    large = [row for row in rows if row.group.startswith("A100") and row.batch >= DEVICE_BOUND]
    groups = {
        group: [row for row in rows if row.group == group]
        for group in dict.fromkeys(row.group for row in rows)
    }
    groups[f"A100, all, batch >= {DEVICE_BOUND}"] = large
    groups["the same, models that nothing was fitted to"] = [x for x in large if not x.fitted]
    return [_summary(group, chosen) for group, chosen in groups.items() if chosen]


def _summary(group: str, rows: Sequence[Row]) -> Summary:
    published = np.array([row.published for row in rows])
    values = np.array([row.value for row in rows])
    ratio = values / published
    return Summary(
        group=group,
        rows=len(rows),
        median_error=float(np.median(abs(ratio - 1))),
        median_ratio=float(np.median(ratio)),
        within_20=float(np.mean(abs(ratio - 1) <= 0.2)),
        coverage=float(np.mean([row.low <= row.published <= row.high for row in rows])),
        host_bound=float(np.mean([row.host_bound for row in rows])),
        kendall=float(kendalltau(values, published).statistic),
        spearman=float(spearmanr(values, published).statistic),
    )


def show_rows(rows: Sequence[Row]) -> Table:
    """Row by row, for people: in images per second."""
    table = Table(
        title="Whole models, images per second",
        caption="*: outside the range; h: bound by the host; f: a constant was fitted to its rows",
    )
    for name in ("runtime", "model", "px", "batch", "published", "predicted", "error", ""):
        table.add_column(name, justify="left" if name in ("runtime", "model") else "right")
    for row in rows:
        marks = "h" * row.host_bound + "f" * row.fitted
        marks += "" if row.low <= row.published <= row.high else "*"
        runtime = row.group.split(", ")[1]
        sizes = (str(row.resolution), str(row.batch), f"{row.published:,.0f}")
        figures = (f"{row.value:,.0f}", f"{row.value / row.published - 1:+.0%}")
        table.add_row(runtime, row.model, *sizes, *figures, marks)
    return table


def show_summaries(summaries: Sequence[Summary]) -> Table:
    """Group by group, for people."""
    table = Table(title="Predicted against published throughput")
    names = ("group", "rows", "median error", "median ratio", "within 20 %", "in range")
    for name in (*names, "host", "Kendall", "Spearman"):
        table.add_column(name, justify="left" if name == "group" else "right")
    for s in summaries:
        shares = (f"{s.within_20:.1%}", f"{s.coverage:.1%}", f"{s.host_bound:.0%}")
        figures = (str(s.rows), f"{s.median_error:.1%}", f"{s.median_ratio:.2f}")
        table.add_row(s.group, *figures, *shares, f"{s.kendall:.3f}", f"{s.spearman:.3f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument(
        "--sample", type=int, default=400, help="models of the RTX 3090's table; 0 for all"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    arguments = parser.parse_args()
    a100 = a100_rows(arguments.data)
    rtx3090, left = rtx3090_rows(arguments.data, arguments.sample)
    summaries = summarise([*a100, *rtx3090])
    if arguments.json:
        found = {
            "summaries": [asdict(summary) for summary in summaries],
            "rows": [asdict(row) for row in (*a100, *rtx3090)],
            "left_out": left,
        }
        print(json.dumps(found, indent=1))
        return
    console = Console(width=130)
    console.print(show_rows(a100), show_summaries(summaries))
    reasons = "; ".join(f"{why} ({count})" for why, count in left.most_common())
    console.print(f"RTX 3090, rows left out: {reasons or 'none'}")


if __name__ == "__main__":
    main()
