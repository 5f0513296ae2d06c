"""Prints how far the prices of whole models are from published throughputs.

    python -m benchmarks.latency.models --data DIR [--sample 400] [--json]

`DIR` holds `a100_models_published.csv` and `rtx3090_timm_infer.parquet`, see docs/latency.md.
timm builds the models (see `zoo`). Each is priced twice: as the fused kernels of a CUDA graph, our
runtime, and as one kernel for each operation under autocast, in which most rows were measured.
No row is fitted; docs/latency.md says what was chosen after looking at those of the RTX 3090.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau, spearmanr

from benchmarks.latency.zoo import import_timm, record_of
from hwprofile.eager import eager_kernels
from hwprofile.estimate import Estimate
from hwprofile.fuse import fuse
from hwprofile.kernel import Kernel
from hwprofile.target import Target
from hwprofile.targets import get_target
from hwprofile.trace import TraceError

TIMM_NAMES = {
    "efficientnet-b0": "efficientnet_b0",
    "efficientnet-b4": "efficientnet_b4",
    "EfficientNetV2-S": "tf_efficientnetv2_s",
    "EfficientNetV2-M": "tf_efficientnetv2_m",
    "EfficientViT-L1": "efficientvit_l1",
    "EfficientViT-L2": "efficientvit_l2",
    "EfficientViT-L3": "efficientvit_l3",
}
"""Published model to timm's. NVIDIA's `widese` variants size their gates otherwise: not in timm."""
ASSUMED_BATCH = 128
"""Where the source gives a throughput without a batch."""
DEVICE_BOUND = 64
"""Smallest batch at which eager PyTorch keeps an A100 busy with these models."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """A predicted throughput in images per second, and its range."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published throughput beside its prices."""

    model: str
    group: str
    resolution: int
    batch: int
    published: float
    """Images per second."""
    graph: Price
    """Fused kernels in a CUDA graph."""
    eager: Price
    """One kernel for each operation, autocast, no host time."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How well one way of pricing does on the rows of a group."""

    group: str
    runtime: str
    rows: int
    median_error: float
    """Median of |predicted / published - 1|."""
    median_ratio: float
    """Median of predicted / published throughput."""
    within_20: float
    coverage: float
    """Share of rows inside the range."""
    kendall: float
    spearman: float


class _Pricer:
    """Prices models on a target, each traced once for a batch."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known: dict[tuple[str, int, int], tuple[Price, Price]] = {}

    def prices(self, name: str, resolution: int, batch: int) -> tuple[Price, Price]:
        key = (name, resolution, batch)
        found = self._known.get(key)
        if found is None:
            record = record_of(name, resolution, batch)
            found = (
                self._price(fuse(record, "fp16"), batch),
                self._price(eager_kernels(record), batch),
            )
            self._known[key] = found
        return found

    def _price(self, kernels: Iterable[Kernel], batch: int) -> Price:
        total = Estimate(value=0.0, low=0.0, high=0.0)
        for kernel in kernels:
            total += self._target.price(kernel)
        images = batch * 1e3
        return Price(value=images / total.value, low=images / total.high, high=images / total.low)


def a100_rows(data: Path) -> tuple[list[Row], Counter[str]]:
    """Rows of models that can be built and priced, and why others cannot."""
    pricer, rows, left = _Pricer(get_target("a100")), [], Counter[str]()
    with (data / "a100_models_published.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    for line in table:
        name, precision = TIMM_NAMES.get(line["model"]), line["precision"]
        if precision == "tf32":
            left["tf32: no such scheme"] += 1
            continue
        if name is None:
            left[f"{line['model']}: not in timm"] += 1
            continue
        batch = int(float(line["batch"])) if line["batch"] else ASSUMED_BATCH
        resolution = int(line["resolution"])
        if line["framework"] != "pytorch":
            group = "TensorRT"
        elif batch >= DEVICE_BOUND:
            group = f"PyTorch AMP, batch >= {DEVICE_BOUND}"
        else:
            group = f"PyTorch AMP, batch < {DEVICE_BOUND}"
        graph, eager = pricer.prices(name, resolution, batch)
        rows.append(
            Row(
                model=line["model"],
                group=group,
                resolution=resolution,
                batch=batch,
                published=float(line["img_per_s"]),
                graph=graph,
                eager=eager,
            )
        )
    return rows, left


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
    pricer, rows = _Pricer(get_target("rtx3090")), []
    for index in order[: sample or None]:
        line = lines[index]
        model, resolution, batch = line["model"], int(line["img_size"]), int(line["batch_size"])
        if model not in names:
            left["unknown to this timm"] += 1
            continue
        try:
            graph, eager = pricer.prices(model, resolution, batch)
        except (TraceError, RuntimeError, AssertionError) as error:
            left[f"{model.split('_')[0]}: {type(error).__name__}"] += 1
            continue
        rows.append(
            Row(
                model=model,
                group="RTX 3090, PyTorch AMP",
                resolution=resolution,
                batch=batch,
                published=float(line["samples_per_sec"]),
                graph=graph,
                eager=eager,
            )
        )
    return rows, left


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Both ways of pricing, for each group."""
    found = []
    for group in dict.fromkeys(row.group for row in rows):
        chosen = [row for row in rows if row.group == group]
        published = np.array([row.published for row in chosen])
        for runtime in ("graph", "eager"):
            prices: list[Price] = [getattr(row, runtime) for row in chosen]
            values = np.array([price.value for price in prices])
            inside = [
                p.low <= row.published <= p.high for p, row in zip(prices, chosen, strict=True)
            ]
            ratio = values / published
            found.append(
                Summary(
                    group=group,
                    runtime=runtime,
                    rows=len(chosen),
                    median_error=float(np.median(abs(ratio - 1))),
                    median_ratio=float(np.median(ratio)),
                    within_20=float(np.mean(abs(ratio - 1) <= 0.2)),
                    coverage=float(np.mean(inside)),
                    kendall=float(kendalltau(values, published).statistic),
                    spearman=float(spearmanr(values, published).statistic),
                )
            )
    return found


def show_rows(rows: Sequence[Row]) -> Table:
    """Row by row, for people: in images per second."""
    table = Table(title="Whole models, images per second", caption="*: outside the range")
    for name in ("model", "px", "batch", "published", "graph", "error", "eager", "error"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows:
        cells = []
        for price in (row.graph, row.eager):
            mark = "" if price.low <= row.published <= price.high else " *"
            cells += [f"{price.value:,.0f}", f"{price.value / row.published - 1:+.0%}{mark}"]
        sizes = (str(row.resolution), str(row.batch), f"{row.published:,.0f}")
        table.add_row(row.model, *sizes, *cells)
    return table


def show_summaries(summaries: Sequence[Summary]) -> Table:
    """Group by group, for people."""
    table = Table(title="Predicted against published throughput")
    names = ("group", "priced as", "rows", "median error", "median ratio", "within 20 %")
    for name in (*names, "in range", "Kendall", "Spearman"):
        table.add_column(name, justify="left" if name in names[:2] else "right")
    for s in summaries:
        shares = [
            f"{s.within_20:.1%}",
            f"{s.coverage:.1%}",
            f"{s.kendall:.3f}",
            f"{s.spearman:.3f}",
        ]
        figures = (str(s.rows), f"{s.median_error:.1%}", f"{s.median_ratio:.2f}")
        table.add_row(s.group, s.runtime, *figures, *shares)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument(
        "--sample", type=int, default=400, help="models of the RTX 3090's table; 0 for all"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    arguments = parser.parse_args()
    a100, a100_left = a100_rows(arguments.data)
    rtx3090, rtx3090_left = rtx3090_rows(arguments.data, arguments.sample)
    summaries = summarise([*a100, *rtx3090])
    if arguments.json:
        found = {
            "summaries": [asdict(summary) for summary in summaries],
            "rows": [asdict(row) for row in (*a100, *rtx3090)],
            "left_out": {"a100": a100_left, "rtx3090": rtx3090_left},
        }
        print(json.dumps(found, indent=1))
        return
    console = Console(width=130)
    console.print(show_rows(a100), show_summaries(summaries))
    for name, left in (("A100", a100_left), ("RTX 3090", rtx3090_left)):
        reasons = "; ".join(f"{why} ({count})" for why, count in left.most_common())
        console.print(f"{name}, rows left out: {reasons or 'none'}")


if __name__ == "__main__":
    main()
