"""Fits the constants, corrections and ranges that ship, from the published A100 rows.

    python -m benchmarks.latency.fit --data DIR [--write]

`DIR` holds the tables that docs/latency.md names. Takes some three minutes on one core. Without
`--write` it prints what it would write into `hwprofile/data/`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize, nnls

from benchmarks.latency.learn import interval, judge, tree_data
from benchmarks.latency.rows import (
    BOARDS,
    SCHEMES,
    Family,
    conv_family,
    conv_rows,
    fold,
    gemm_family,
    gemm_rows,
    stream_family,
    stream_rows,
)
from hwprofile.alone import READS, AloneConstants
from hwprofile.conv_fp32 import ALGORITHMS, ConvShape, terms
from hwprofile.device import load_device
from hwprofile.gemm import GemmConstants, plan_gemm
from hwprofile.wave import limits

OUT = Path(__file__).parents[2] / "hwprofile" / "data"
GEMM_START = {
    "floor_us": 2.3,
    "ramp_us": 0.5,
    "compute_efficiency": 1.0,
    "tile_half": 11.0,
    "step_us": 0.07,
    "tile_us": 1.2,
    "l2_efficiency": 0.5,
    "dram_efficiency": 0.78,
    "dram_half": 0.3,
    "split_us": 2.5,
    "vector_k_us": 0.6,
    "overlap": 3.0,
}


def fit_gemm(data: Path) -> GemmConstants:
    """The wave model's constants, on 1,500 bf16 rows of the folds 0 to 2."""
    lim = limits(load_device("a100"), "bf16")
    rows = [row for row in gemm_rows(data, "bf16") if fold(row[1], row[2]) < 3]
    rows = random.Random(0).sample(rows, 1500)
    start = np.log(list(GEMM_START.values()))

    def loss(logs: np.ndarray) -> float:
        constants = GemmConstants(**dict(zip(GEMM_START, np.exp(logs).tolist(), strict=True)))
        errors = (
            abs(math.log(plan_gemm(m, n, k, 1, lim, constants).time_us / time))
            for m, n, k, time in rows
        )
        # Capped: a few rows that the model cannot explain must not bend the others.
        return sum(min(error, 0.6) for error in errors) / len(rows)

    found = minimize(
        loss,
        start,
        method="Powell",
        bounds=[(value - 1.2, value + 1.2) for value in start],
        options={"maxfev": 700, "ftol": 1e-4, "xtol": 1e-3},
    )
    values = [float(f"{value:.4g}") for value in np.exp(found.x)]
    return GemmConstants(**dict(zip(GEMM_START, values, strict=True)))


SCHEME_CONSTANTS = ("floor_us", "compute_efficiency", "step_us", "dram_efficiency", "l2_efficiency")


def fit_scheme(data: Path, scheme: str, gemm: GemmConstants) -> GemmConstants:
    """`gemm` with the constants that another kernel family changes, on the folds 0 to 2."""
    lim = limits(load_device("a100"), scheme)
    rows = [row for row in gemm_rows(data, scheme) if fold(row[1], row[2]) < 3]
    rows = random.Random(0).sample(rows, 800)
    start = np.log([getattr(gemm, name) for name in SCHEME_CONSTANTS])

    def changed(logs: np.ndarray) -> GemmConstants:
        values = [float(f"{value:.4g}") for value in np.exp(logs)]
        return replace(gemm, **dict(zip(SCHEME_CONSTANTS, values, strict=True)))

    def loss(logs: np.ndarray) -> float:
        constants = changed(logs)
        errors = (
            abs(math.log(plan_gemm(m, n, k, 1, lim, constants).time_us / time))
            for m, n, k, time in rows
        )
        return sum(min(error, 0.6) for error in errors) / len(rows)

    bounds = [(value - 1.6, value + 1.6) for value in start]
    options = {"maxfev": 350, "ftol": 1e-4, "xtol": 1e-3}
    return changed(minimize(loss, start, method="Powell", bounds=bounds, options=options).x)


def fit_alone(op: str, rows: list[tuple[int, int, str, float]]) -> AloneConstants:
    """The constants of one operator of the element-wise table, on the folds 0 to 2."""
    chosen = [row for row in rows if fold(row[1]) < 3]
    bandwidth = {name: load_device(name).dram_gbps * 1e3 for name in BOARDS.values()}
    elements = np.array([row[0] * row[1] for row in chosen], dtype=float)
    limit = np.array([bandwidth[row[2]] for row in chosen])
    time = np.array([row[3] for row in chosen])
    moved = 4.0 * elements * (READS.get(op, 1) + 1)
    host = float(np.median(time[moved < 2e6]))

    def constants(logs: np.ndarray) -> AloneConstants:
        host_us, latency, efficiency, rate = (float(f"{v:.4g}") for v in np.exp(logs))
        return AloneConstants(
            host_us=host_us,
            latency_us=latency,
            efficiency=min(efficiency, 1.0),
            elements_per_us=rate * 1e6,
        )

    def loss(logs: np.ndarray) -> float:
        c = constants(logs)
        busy = np.maximum(moved / (limit * c.efficiency), elements / c.elements_per_us)
        guess = np.maximum(c.host_us, c.latency_us + busy)
        return float(np.mean(np.abs(np.log(guess / time))))

    starts = [np.log([host, latency, 0.87, rate]) for latency in (6, 14) for rate in (0.15, 0.4)]
    found = [
        minimize(loss, start, method="Nelder-Mead", options={"maxfev": 2000}) for start in starts
    ]
    return constants(min(found, key=lambda result: float(result.fun)).x)


def fit_conv(rows: list[tuple[ConvShape, str, float]]) -> dict[str, list[float]]:
    """Coefficients of each algorithm, on its rows of the folds 0 to 2.

    Non-negative least squares on relative errors, reweighted towards least absolute errors.
    """
    sms = load_device("a100-pcie-80gb").sms
    found = {}
    for name in ALGORITHMS:
        chosen = [
            (terms(shape, sms)[name], time)
            for shape, ran, time in rows
            if ran == name and fold(shape.c_in, shape.c_out) < 3
        ]
        time = np.array([row[1] for row in chosen])
        matrix = np.array([row[0] for row in chosen]) / time[:, None]
        weight = np.ones(len(time))
        for _ in range(20):
            solved, _ = nnls(matrix * weight[:, None], weight)
            weight = 1.0 / np.sqrt(np.abs(matrix @ solved - 1.0) + 0.03)
        found[name] = [float(f"{value:.4g}") for value in solved]
    return found


def families(
    data: Path,
    gemm: dict[str, GemmConstants],
    alone: dict[str, AloneConstants],
    conv: dict[str, list[float]],
) -> list[Family]:
    """All families with rows."""
    found = [gemm_family(data, scheme, constants) for scheme, constants in gemm.items()]
    found += [stream_family(op, rows, alone[op]) for op, rows in stream_rows(data).items()]
    return [*found, conv_family(conv_rows(data), conv)]


def toml(
    gemm: dict[str, GemmConstants],
    alone: dict[str, AloneConstants],
    conv: dict[str, list[float]],
    ranges: dict[str, tuple[float, float]],
    corrected: list[str],
) -> str:
    """The text of `fitted.toml`."""
    plain = [op for op in alone if op not in ("layer_norm", "softmax")]
    efficiency = float(np.median([alone[op].efficiency for op in plain]))
    lines = [
        "# Written by benchmarks/latency/fit.py; docs/latency.md says from which rows.",
        "# Sources: ai-dynamo/aiconfigurator at 095f58a (Apache-2.0) for products,",
        "# sitar-lab/NeuSight at 6945927 (MIT) for the others; both NVIDIA A100.",
        "",
        "[gemm]",
        *(f"{name} = {getattr(gemm['bf16'], name):.4g}" for name in GEMM_START),
        *(
            line
            for scheme in SCHEMES
            for line in (
                "",
                f"[schemes.{scheme}]",
                *(f"{name} = {getattr(gemm[scheme], name):.4g}" for name in SCHEME_CONSTANTS),
            )
        ),
        "",
        "[stream]",
        f"dram_efficiency = {efficiency:.4g}",
        "",
        "[measured.a100.corrections]",
        *(f'"{name}" = "a100_{name.replace(".", "_")}.json"' for name in corrected),
        "",
        "[measured.a100.ranges]",
        *(f'"{name}" = [{low:.4f}, {high:.4f}]' for name, (low, high) in ranges.items()),
        "",
        "[alone.conv2d]",
        *(f"{name} = {values}" for name, values in conv.items()),
    ]
    for op, c in alone.items():
        lines += ["", f"[alone.{op}]"]
        lines += [f"host_us = {c.host_us:.4g}", f"latency_us = {c.latency_us:.4g}"]
        lines += [f"efficiency = {c.efficiency:.4g}", f"elements_per_us = {c.elements_per_us:.4g}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument("--write", action="store_true", help="write into hwprofile/data/")
    arguments = parser.parse_args()
    base = fit_gemm(arguments.data)
    gemm = {"bf16": base}
    gemm.update({scheme: fit_scheme(arguments.data, scheme, base) for scheme in SCHEMES})
    alone = {op: fit_alone(op, rows) for op, rows in stream_rows(arguments.data).items()}
    conv = fit_conv(conv_rows(arguments.data))
    ranges, corrected = {}, []
    for family in families(arguments.data, gemm, alone, conv):
        # Ranges come from rows kept out by shape; what ships is then fitted on all rows.
        judged, ratio = judge(family, "shape")
        ranges[family.name] = interval(ratio)
        print(f"{family.name}: median error {judged.median_error:.3f}", flush=True)
        data = tree_data(family, np.ones(len(ratio), dtype=bool))
        if data is None:
            continue
        corrected.append(family.name)
        if arguments.write:
            text = json.dumps(data, separators=(",", ":")) + "\n"
            path = OUT / f"a100_{family.name.replace('.', '_')}.json"
            path.write_text(text, encoding="utf-8")
    text = toml(gemm, alone, conv, ranges, corrected)
    if arguments.write:
        (OUT / "fitted.toml").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
