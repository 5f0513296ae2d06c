"""Prints how far the prices are from published A100 rows that were kept out of the fit.

    python -m benchmarks.latency.report --data DIR [--json]

`DIR` holds the tables that docs/latency.md names. Constants are those that ship; the corrections
are fitted anew on three fifths of the rows, ranges calibrated on another fifth, and the last fifth
is judged, five times over. The baseline is the ideal roofline: max(operations / peak, bytes /
bandwidth).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.latency.fit import families
from benchmarks.latency.learn import Judged, judge
from hwprofile.alone import AloneConstants
from hwprofile.constants import constants
from hwprofile.gemm import GemmConstants
from hwprofile.kernel import Kernel
from hwprofile.targets import get_target


def measure(data: Path) -> list[Judged]:
    """The figures of all families under both splits."""
    table = constants()
    alone = dict(table["alone"])
    conv = alone.pop("conv2d")
    fitted = {op: AloneConstants(**values) for op, values in alone.items()}
    base = GemmConstants(**table["gemm"])
    gemm = {"bf16": base}
    gemm.update({scheme: replace(base, **own) for scheme, own in table["schemes"].items()})
    found = families(data, gemm, fitted, conv)
    return [judge(family, split)[0] for split in ("shape", "row") for family in found]


def price_us(count: int = 2000) -> dict[str, float]:
    """Quantiles of the time to price one new bf16 product on `a100`, in microseconds."""
    target = get_target("a100")
    times = []
    for index in range(count):
        kernel = Kernel(op="gemm", scheme="bf16", m=index + 1, n=768 + 8 * (index % 97), k=3072)
        start = time.perf_counter()
        target.price(kernel)
        times.append((time.perf_counter() - start) * 1e6)
    low, middle, high = np.quantile(times, (0.2, 0.5, 0.8)).tolist()
    return {"p20": low, "p50": middle, "p80": high}


def show(judged: list[Judged], speed: dict[str, float]) -> Table:
    """The figures as a table for people."""
    table = Table(
        title="Single kernels on A100, rows kept out of the fit",
        caption="price of one new product: "
        + ", ".join(f"{name} {value:.0f} us" for name, value in speed.items()),
    )
    names = ("split", "family", "rows", "median error", "within 10 %", "within 20 %")
    for name in (*names, "in 90 % range", "prior alone", "prior within 10 %", "roofline"):
        table.add_column(name, justify="left" if name in ("split", "family") else "right")
    for row in judged:
        shares = (
            row.median_error,
            row.within_10,
            row.within_20,
            row.coverage,
            row.prior_median_error,
            row.prior_within_10,
            row.roofline_median_error,
        )
        table.add_row(row.split, row.family, str(row.rows), *(f"{100 * x:.1f} %" for x in shares))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    judged, speed = measure(arguments.data), price_us()
    if arguments.json:
        print(
            json.dumps({"families": [asdict(row) for row in judged], "price_us": speed}, indent=1)
        )
    else:
        Console(width=150).print(show(judged, speed))


if __name__ == "__main__":
    main()
