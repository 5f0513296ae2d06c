"""Latency of one network on a target, kernel by kernel, as a plain record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hwprofile.blocks import BlockTable, block_names
from hwprofile.fuse import fuse
from hwprofile.kernel import Kernel
from hwprofile.liveness import peak_bytes
from hwprofile.target import Target
from hwprofile.trace import trace
from nas.export.source_of import design_of
from nas.plugins import PluginError, load
from nas.usage import UsageError
from predictors.latency import LatencyPredictor
from searchspace.shapes import TensorSpec, image

FORMAT, VERSION = "nas-prediction", 1
_DEFAULT_RESOLUTION, _DEFAULT_PRECISION = 224, "fp16"


def predict_network(
    network: str,
    target: Target,
    *,
    batch: int | None = None,
    resolution: int | None = None,
    precision: str | None = None,
    channels: int = 3,
) -> dict[str, Any]:
    """Price a network.

    Args:
        network: an exported folder, an architecture file, or `package.module:callable`.
        target: the device.
        batch: images in one forward pass; by default what the export says, else 1.
        resolution: height and width of the input; by default what the export says, else 224.
        precision: `fp16`, `bf16` or `fp32`; by default what the export says, else fp16.
        channels: input channels, for a callable.

    Returns:
        What `docs/json.md` describes: totals and a list of kernels, each with its range.

    Raises:
        UsageError: the network is none of the three.
        ExportError, TreeTextError: the file is missing or damaged.
        PluginError, TraceError: the callable cannot be loaded, or its module not be traced.
    """
    if not Path(network).exists() and ":" in network:
        spec = image(channels, *[resolution or _DEFAULT_RESOLUTION] * 2)
        module = _module(network)
        found = _traced(module, spec, target, batch or 1, precision or _DEFAULT_PRECISION)
    elif Path(network).exists():
        found = _exported(Path(network), target, batch, resolution, precision)
    else:
        raise UsageError(
            f"no file or folder '{network}'; give an exported folder, an architecture file, or "
            "package.module:callable"
        )
    return {"format": FORMAT, "version": VERSION, "network": network, **found}


def _module(place: str) -> nn.Module:
    made = load(place, "network")
    try:
        module = made if isinstance(made, nn.Module) else _made_on_meta(made)
    except Exception as fault:
        raise PluginError(
            f"'{place}' must return an nn.Module when called without arguments; it raised "
            f"{type(fault).__name__}: {fault}"
        ) from fault
    if not isinstance(module, nn.Module):
        raise UsageError(f"'{place}' must return an nn.Module; it returned {type(module).__name__}")
    return module


def _made_on_meta(make: Callable[[], Any]) -> Any:
    """Call a factory without allocating weights, or with them where it reads their values."""
    try:
        with torch.device("meta"):
            return make()
    except Exception:  # noqa: BLE001 - foreign code; what the second call raises is told
        # Constructors may compute with tensors, as those of stochastic depth do: the real device
        # serves them, and if it does not, the fault that it gives is the one to tell.
        return make()


def _exported(
    path: Path, target: Target, batch: int | None, resolution: int | None, precision: str | None
) -> dict[str, Any]:
    design = design_of(path, None)
    facts = design.facts
    spec = design.spec
    if resolution is not None:
        spec = image(spec.channels, resolution, resolution)
    batch = batch or int(facts.get("batch", 1))
    precision = precision or str(facts.get("precision", _DEFAULT_PRECISION))
    table = BlockTable(spec, batch=batch, precision=precision)
    root = design.architecture.root
    costs = table.costs(root)
    names = block_names(root, spec)
    kernels = [
        replace(kernel, path=f"{name}.{kernel.path}".rstrip("."))
        for name, block in zip(names, costs.blocks, strict=True)
        for kernel in block.kernels
    ]
    total = LatencyPredictor(target).latency(costs)
    counts = (costs.macs, costs.params, costs.peak_bytes)
    return _record(target, batch, precision, spec, counts, kernels) | {
        "latency_ms": total.value,
        "low_ms": total.low,
        "high_ms": total.high,
        "key": design.architecture.key,
    }


def _traced(
    module: nn.Module, spec: TensorSpec, target: Target, batch: int, precision: str
) -> dict[str, Any]:
    record = trace(module, (batch, *spec.shape))
    counts = (
        record.macs // batch,
        record.param_count,
        peak_bytes(record, 4 if precision == "fp32" else 2),
    )
    return _record(target, batch, precision, spec, counts, fuse(record, precision))


def _record(
    target: Target,
    batch: int,
    precision: str,
    spec: TensorSpec,
    counts: tuple[int, int, int],
    kernels: Iterable[Kernel],
) -> dict[str, Any]:
    launched = list(kernels)
    rows = [_row(kernel, target) for kernel in launched]
    macs, params, peak = counts
    return {
        "target": target.name,
        "runtime": "cuda-graph",
        "batch": batch,
        "precision": precision,
        "input": list(spec.shape),
        **{name: sum(row[name] for row in rows) for name in ("latency_ms", "low_ms", "high_ms")},
        "macs": macs,
        "params": params,
        "peak_bytes": peak,
        "weight_bytes": sum(kernel.weight_bytes for kernel in launched),
        "kernels": rows,
    }


def _row(kernel: Kernel, target: Target) -> dict[str, Any]:
    estimate = target.price(kernel)
    return {
        "op": kernel.op,
        "scheme": kernel.scheme,
        "m": kernel.m,
        "n": kernel.n,
        "k": kernel.k,
        "groups": kernel.groups,
        "taps": kernel.taps,
        "bytes": kernel.read_bytes + kernel.weight_bytes + kernel.write_bytes,
        "flops": kernel.flops,
        "latency_ms": estimate.value,
        "low_ms": estimate.low,
        "high_ms": estimate.high,
        "path": kernel.path,
        "detail": kernel.detail,
    }
