"""Fits the constants, corrections and spreads that ship, from the published rows.

    python -m benchmarks.latency.fit --data DIR [--write]

`DIR` holds the tables that docs/latency.md names. Takes some five minutes on one core. Without
`--write` it prints what it would write into `hwprofile/data/`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize, nnls

from benchmarks.latency.fit_gemm import (
    DEVICES,
    GEMM_START,
    SCHEME_CONSTANTS,
    fit_base,
    fit_scheme,
)
from benchmarks.latency.learn import judge, tree_data
from benchmarks.latency.rows import (
    BOARDS,
    SCHEMES,
    Family,
    conv_family,
    conv_rows,
    fold,
    gemm_family,
    stream_family,
    stream_rows,
)
from benchmarks.latency.transfer import held_devices, pooled, widening
from hwprofile.alone import READS, AloneConstants
from hwprofile.conv_fp32 import ALGORITHMS, ConvShape, terms
from hwprofile.device import load_device
from hwprofile.gemm import GemmConstants
from hwprofile.spread import SizedSpread

OUT = Path(__file__).parents[2] / "hwprofile" / "data"


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
    """All families with rows, of all devices."""
    found = [
        gemm_family(data, scheme, constants, device)
        for scheme, constants in gemm.items()
        for device in DEVICES[scheme]
        if device == "a100" or (data / "gemm").is_dir()
    ]
    found += [stream_family(op, rows, alone[op]) for op, rows in stream_rows(data).items()]
    return [*found, conv_family(conv_rows(data), conv)]


def toml(
    gemm: dict[str, GemmConstants],
    alone: dict[str, AloneConstants],
    conv: dict[str, list[float]],
    corrected: dict[str, list[str]],
) -> str:
    """The text of `fitted.toml`."""
    plain = [op for op in alone if op not in ("layer_norm", "softmax")]
    efficiency = float(np.median([alone[op].efficiency for op in plain]))
    lines = [
        "# Written by benchmarks/latency/fit.py; docs/latency.md says from which rows.",
        "# Sources: ai-dynamo/aiconfigurator at 095f58a (Apache-2.0) for products on five devices,",
        "# sitar-lab/NeuSight at 6945927 (MIT) for the others on NVIDIA A100.",
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
    ]
    for device, names in corrected.items():
        lines += ["", f"[measured.{device}.corrections]"]
        lines += [f'"{name}" = "{_file(device, name)}"' for name in names]
    lines += ["", "[alone.conv2d]", *(f"{name} = {values}" for name, values in conv.items())]
    for op, c in alone.items():
        lines += ["", f"[alone.{op}]"]
        lines += [f"host_us = {c.host_us:.4g}", f"latency_us = {c.latency_us:.4g}"]
        lines += [f"efficiency = {c.efficiency:.4g}", f"elements_per_us = {c.elements_per_us:.4g}"]
    return "\n".join(lines) + "\n"


def _file(device: str, family: str) -> str:
    return f"{device}_{family.replace('.', '_')}.json"


def spread_data(spread: SizedSpread) -> dict[str, Any]:
    """A spread as its file holds it."""
    logs = [[round(x, 4) for x in part.logs] for part in spread.spreads]
    return {"upto_us": [float(f"{us:.5g}") for us in spread.upto_us], "logs": logs}


def _write(name: str, content: Any) -> None:
    text = json.dumps(content, separators=(",", ":")) + "\n"
    (OUT / name).write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument("--write", action="store_true", help="write into hwprofile/data/")
    arguments = parser.parse_args()
    data = arguments.data
    base = fit_base(data, DEVICES["bf16"])
    gemm = {"bf16": base}
    gemm.update({s: fit_scheme(data, s, base, DEVICES[s]) for s in SCHEMES})
    alone = {op: fit_alone(op, rows) for op, rows in stream_rows(data).items()}
    conv = fit_conv(conv_rows(data))
    spreads: dict[str, dict[str, Any]] = {"unmeasured": {}}
    corrected: dict[str, list[str]] = {}
    for scheme, held in held_devices(data).items():
        spread = pooled(list(held.values()), widening(held))
        spreads["unmeasured"][f"gemm.{scheme}"] = spread_data(spread)
    for family in families(data, gemm, alone, conv):
        # Spreads come from rows kept out by shape; what ships is then fitted on all rows.
        judged, rows = judge(family, "shape")
        spread = SizedSpread.of_rows(rows.price_us, rows.log_ratio)
        spreads.setdefault(family.device, {})[family.name] = spread_data(spread)
        print(
            f"{family.device} {family.name}: median error {judged.median_error:.3f}, within 10 % "
            f"{judged.within_10:.3f}, coverage {judged.coverage:.3f}",
            flush=True,
        )
        trees = tree_data(family, np.ones(len(family.time_us), dtype=bool))
        if trees is None:
            continue
        corrected.setdefault(family.device, []).append(family.name)
        if arguments.write:
            _write(_file(family.device, family.name), trees)
    text = toml(gemm, alone, conv, corrected)
    if arguments.write:
        (OUT / "fitted.toml").write_text(text, encoding="utf-8")
        for owner, found in spreads.items():
            _write(f"{owner}_spreads.json", found)
    print(text)


if __name__ == "__main__":
    main()
