"""Judges the prices of Triton kernels on Liger-Kernel's A100 rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from hwprofile.targets import get_target
from hwprofile.triton_alone import TritonModel


@dataclass(frozen=True)
class TritonJudged:
    """One kernel and pass."""

    kernel: str
    mode: str
    rows: int
    median_error: float
    largest_error: float
    coverage: float
    """Share of rows inside the range."""


def judge_triton(data: Path) -> list[TritonJudged]:
    """The figures by kernel and pass; kernels made of many launches are left out.

    Two constants were fitted to these rows and two are medians of them (`constants.toml`).
    """
    target = get_target("a100")
    model = TritonModel(target)
    found: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for line in pq.read_table(data / "a100_triton_liger.parquet").to_pylist():
        if line["kernel_provider"] != "liger" or line["kernel_name"].startswith("fused_"):
            continue
        op, mode, measured = line["kernel_name"], line["kernel_operation_mode"], line["y_value_50"]
        scheme = "fp32" if op == "cross_entropy" else "bf16"
        price = model.estimate(op, scheme, mode, _sizes(line))
        inside = price.low <= measured <= price.high
        found.setdefault((op, mode), []).append((abs(price.value / measured - 1), inside))
    return [
        TritonJudged(
            kernel=op,
            mode=mode,
            rows=len(rows),
            median_error=float(np.median([error for error, _ in rows])),
            largest_error=max(error for error, _ in rows),
            coverage=float(np.mean([inside for _, inside in rows])),
        )
        for (op, mode), rows in found.items()
    ]


def _sizes(line: dict[str, Any]) -> dict[str, int]:
    """Sizes as `TritonModel.estimate` takes them."""
    given = {**json.loads(line["extra_benchmark_config_str"]), line["x_name"]: line["x_value"]}
    if line["kernel_name"] == "cross_entropy":
        return {"b": given["B"] * given["T"], "h": int(given["V"])}
    if line["kernel_name"] == "rope":
        heads = {name: given[name] for name in ("num_q_heads", "num_kv_heads")}
        tokens, hidden = given.get("seq_len", given.get("T")), given.get("hidden_size")
        return {"b": int(tokens), "h": int(hidden or given["H"]), **heads}
    return {
        "b": int(given["B"] * given["T"]),
        "h": given["hidden_size"],
        "intermediate_size": given["intermediate_size"],
    }
