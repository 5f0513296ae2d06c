"""Prints how far the prices are from published rows that were kept out of the fit.

    python -m benchmarks.latency.report --data DIR [--plot coverage.svg] [--transfer] [--json]

`DIR` holds the tables that docs/latency.md names. Constants are those that ship; the corrections
are fitted anew on four fifths of the rows and priced on the last, five times over. `--transfer`
fits the constants anew without each device in turn (a minute more). The baseline is the ideal
roofline: max(operations / peak, bytes / bandwidth).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.latency.fit import families
from benchmarks.latency.learn import NOMINALS, Judged, judge
from benchmarks.latency.transfer import Transfer, held_devices, transfers
from benchmarks.latency.triton_rows import TritonJudged, judge_triton
from hwprofile.alone import AloneConstants
from hwprofile.constants import constants
from hwprofile.gemm import GemmConstants
from hwprofile.kernel import Kernel
from hwprofile.targets import get_target
from nas.report.coverage_plot import Curve, coverage_svg


def measure(data: Path, splits: Sequence[str]) -> list[Judged]:
    """The figures of all families under the splits named."""
    table = constants()
    alone = dict(table["alone"])
    conv = alone.pop("conv2d")
    fitted = {op: AloneConstants(**values) for op, values in alone.items()}
    base = GemmConstants(**table["gemm"])
    gemm = {"bf16": base}
    gemm.update({scheme: replace(base, **own) for scheme, own in table["schemes"].items()})
    found = families(data, gemm, fitted, conv)
    return [judge(family, split)[0] for split in splits for family in found]


def price_us(at_once: int, count: int = 2000) -> dict[str, float]:
    """Quantiles of the time a new bf16 product takes on `a100`, in microseconds."""
    target = get_target("a100")
    times = []
    for first in range(0, count, at_once):
        kernels = [
            Kernel(op="gemm", scheme="bf16", m=index + 1, n=768 + 8 * (index % 97), k=3072)
            for index in range(first, first + at_once)
        ]
        start = time.perf_counter()
        target.price_all(kernels)
        times.append((time.perf_counter() - start) * 1e6 / at_once)
    low, middle, high = np.quantile(times, (0.2, 0.5, 0.8)).tolist()
    return {"p20": low, "p50": middle, "p80": high}


def show(judged: Sequence[Judged]) -> Table:
    """The figures of families as a table for people."""
    table = Table(title="Single kernels, rows kept out of the fit")
    texts = ("split", "device", "family")
    names = (*texts, "rows", "median error", "within 10 %", "within 20 %", "in 90 % range")
    for name in (*names, "of the shortest", "prior alone", "prior within 10 %", "roofline"):
        table.add_column(name, justify="left" if name in texts else "right")
    for row in judged:
        shares = (
            row.median_error,
            row.within_10,
            row.within_20,
            row.coverage,
            row.coverage_small,
            row.prior_median_error,
            row.prior_within_10,
            row.roofline_median_error,
        )
        figures = (f"{100 * share:.1f} %" for share in shares)
        table.add_row(row.split, row.device, row.family, str(row.rows), *figures)
    return table


def show_transfers(found: Sequence[Transfer]) -> Table:
    """The table of devices left out, for people."""
    table = Table(title="Products on a device whose rows no constant was fitted to")
    names = ("scheme", "device", "rows", "median error", "median ratio", "within 20 %")
    for name in (*names, "in 90 % range"):
        table.add_column(name, justify="left" if name in names[:2] else "right")
    for row in found:
        table.add_row(
            *(row.scheme, row.device, str(row.rows), f"{row.median_error:.1%}"),
            *(f"{row.median_ratio:.2f}", f"{row.within_20:.1%}", f"{row.coverage:.1%}"),
        )
    return table


def show_triton(found: Sequence[TritonJudged]) -> Table:
    """The Triton rows, for people."""
    table = Table(title="Triton kernels on A100, as do_bench times them")
    for name in ("kernel", "pass", "rows", "median error", "largest", "in range"):
        table.add_column(name, justify="left" if name in ("kernel", "pass") else "right")
    for row in found:
        table.add_row(
            *(row.kernel, row.mode, str(row.rows), f"{row.median_error:.1%}"),
            *(f"{row.largest_error:.1%}", f"{row.coverage:.0%}"),
        )
    return table


def curves(judged: Sequence[Judged]) -> list[Curve]:
    """Coverage of the shape split's families."""
    return [
        Curve(
            name=f"{row.family} · {row.device}",
            note=f"{row.rows:,} rows; 90 % holds {row.coverage:.1%}",
            promised=NOMINALS,
            observed=row.reached,
        )
        for row in judged
        if row.split == "shape"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument("--plot", type=Path, help="SVG file to draw the ranges' coverage into")
    parser.add_argument("--rows", action="store_true", help="judge the easier split by rows too")
    parser.add_argument("--transfer", action="store_true", help="leave out each device in turn")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    arguments = parser.parse_args()
    judged = measure(arguments.data, ("shape", "row") if arguments.rows else ("shape",))
    moved = transfers(held_devices(arguments.data)) if arguments.transfer else []
    triton = judge_triton(arguments.data)
    speed = {str(count): price_us(count) for count in (1, 100)}
    if arguments.plot:
        source = "published rows kept out of the fit by shape: docs/latency.md"
        picture = coverage_svg(curves(judged), "Coverage of the ranges of single kernels", source)
        arguments.plot.write_text(picture, encoding="utf-8")
    if arguments.json:
        found: dict[str, Any] = {
            "families": [asdict(row) for row in judged],
            "transfers": [asdict(row) for row in moved],
            "triton": [asdict(row) for row in triton],
            "price_us": speed,
        }
        print(json.dumps(found, indent=1))
        return
    console = Console(width=160)
    console.print(show(judged), show_triton(triton))
    if moved:
        console.print(show_transfers(moved))
    for count, times in speed.items():
        said = ", ".join(f"{name} {value:.0f} us" for name, value in times.items())
        console.print(f"price of a new product, {count} at once: {said}")


if __name__ == "__main__":
    main()
