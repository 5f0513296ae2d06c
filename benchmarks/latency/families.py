"""Prints by how much each family of kernels is priced too low or high within whole models.

    python -m benchmarks.latency.families --data DIR [--sample 400]

The measured time of every model of the RTX 3090's table is explained as the sum of its families'
eager prices, each times one factor that no model can choose for itself: least absolute relative
error, factors not negative. Families that always come together (a norm of batches and its
activation) share their factors out at random; those with a small share of the time are noise.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import nnls

from benchmarks.latency.models import rtx3090_lines
from benchmarks.latency.zoo import import_timm, record_of
from hwprofile.eager import eager_kernels
from hwprofile.kernel import Kernel
from hwprofile.targets import get_target
from hwprofile.trace import TraceError


def family(kernel: Kernel) -> str:
    """The family, apart for what is priced apart or fails apart."""
    if kernel.op == "gemm":
        return "batched products" if kernel.groups > 1 else "products, 1x1 convolutions"
    if kernel.op == "conv2d" and kernel.taps > 1:
        return "grouped convolutions" if kernel.groups > 1 else "wide convolutions"
    if kernel.op == "depthwise_conv2d":
        size = round(kernel.taps**0.5)
        return f"depthwise {size}x{size}" if size in (3, 5, 7) else "depthwise, others"
    if kernel.op == "other" and kernel.k > 1:
        return "attention"
    return kernel.op


def shares(data: Path, sample: int) -> tuple[list[str], np.ndarray]:
    """Families, and the share of each model's measured time that each is priced at."""
    target, known = get_target("rtx3090"), set(import_timm().list_models())
    lines = rtx3090_lines(data)
    found: list[Counter[str]] = []
    for index in np.random.default_rng(0).permutation(len(lines)).tolist()[: sample or None]:
        line = lines[index]
        if line["model"] not in known:
            continue
        batch = int(line["batch_size"])
        try:
            record = record_of(line["model"], int(line["img_size"]), batch)
        except (TraceError, RuntimeError, AssertionError):
            continue
        totals: Counter[str] = Counter()
        for kernel in eager_kernels(record):
            totals[family(kernel)] += target.alone(kernel).value
        measured_ms = batch / float(line["samples_per_sec"]) * 1e3
        found.append(Counter({name: total / measured_ms for name, total in totals.items()}))
    names = sorted({name for totals in found for name in totals})
    return names, np.array([[totals[name] for name in names] for totals in found])


def factors(share: np.ndarray) -> np.ndarray:
    """Factors `[families]` of the shares `[models, families]`, by reweighted least squares."""
    weight = np.ones(len(share))
    for _ in range(30):
        root = np.sqrt(weight)
        found, _ = nnls(share * root[:, None], root)
        # Two per cent: nearer than that nothing is told apart from noise.
        weight = 1 / np.maximum(abs(share @ found - 1), 0.02)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument("--sample", type=int, default=400, help="models; 0 for all")
    arguments = parser.parse_args()
    names, share = shares(arguments.data, arguments.sample)
    found = factors(share)
    before, after = np.median(abs(share.sum(1) - 1)), np.median(abs(share @ found - 1))
    table = Table(
        title=f"measured / priced on RTX 3090, by family, {len(share)} models",
        caption=f"median error of the sum {before:.1%}, with these factors {after:.1%}",
    )
    for name in ("family", "factor", "share of the time as priced"):
        table.add_column(name, justify="left" if name == "family" else "right")
    for index in np.argsort(-share.mean(0)).tolist():
        table.add_row(names[index], f"{found[index]:.2f}", f"{share[:, index].mean():.1%}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
