"""Latency of one network on a target, kernel by kernel, as a plain record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from hwprofile.blocks import BlockTable, block_names
from hwprofile.energy import energy_mj
from hwprofile.inductor import rules_of
from hwprofile.kernel import FLOAT_BYTES, Kernel, is_unknown
from hwprofile.liveness import peak_bytes
from hwprofile.meta_build import on_meta
from hwprofile.runtime import launches
from hwprofile.target import Target
from hwprofile.trace import trace
from nas.export.source_of import design_of
from nas.plugins import PluginError, load
from nas.usage import UsageError
from predictors.latency import LatencyPredictor, PricedKernel, priced, sums_of
from searchspace.shapes import image

FORMAT, VERSION = "nas-prediction", 1
_DEFAULT_RESOLUTION = 224


def predict_network(
    network: str,
    target: Target,
    *,
    batch: int | None = None,
    resolution: int | None = None,
    precision: str | None = None,
    channels: int = 3,
    inputs: Sequence[tuple[int, ...]] = (),
) -> dict[str, Any]:
    """Price a network.

    Args:
        network: an exported folder, an architecture file, or `package.module:callable`.
        target: the device.
        batch: images in one forward pass; by default what the export says, else 1.
        resolution: height and width of the input; by default what the export says, else 224.
        precision: `fp16`, `bf16`, `fp32` or `tf32`; by default what the export says, else the
            target's default.
        channels: input channels, for a callable that takes one image.
        inputs: shapes of all inputs with the batch, for a callable that takes others.

    Returns:
        What `docs/json.md` describes: totals and a list of kernels, each with its range.

    Raises:
        UsageError: the network is none of the three.
        ExportError, TreeTextError: the file is missing or damaged.
        PluginError, TraceError: the callable cannot be loaded, or its module not be traced.
    """
    if not Path(network).exists() and ":" in network:
        side = resolution or _DEFAULT_RESOLUTION
        shapes = tuple(inputs) or ((batch or 1, channels, side, side),)
        found = _traced(_module(network), shapes, target, precision or target.default_scheme)
    elif Path(network).exists():
        if inputs:
            raise UsageError("--input is for package.module:callable; an export has its own")
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
        with on_meta():
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
    recorded = facts.get("precision", target.default_scheme)
    precision = precision or str(recorded if recorded in target.schemes else target.default_scheme)
    _check_scheme(target, precision)
    table = BlockTable(spec, batch=batch, precision=precision, runtime=target.runtime)
    root = design.architecture.root
    costs = table.costs(root)
    names = block_names(root, spec)
    kernels = [
        replace(kernel, path=f"{name}.{kernel.path}".rstrip("."))
        for name, block in zip(names, costs.blocks, strict=True)
        for kernel in block.kernels
    ]
    counts = (costs.macs, costs.params, costs.peak_bytes)
    shapes = ((batch, *spec.shape),)
    found = _record(target, shapes, precision, counts, kernels)
    total = LatencyPredictor(target).latency(costs)  # to the last digit what a search says
    return found | {
        "latency_ms": total.value,
        "low_ms": total.low,
        "high_ms": total.high,
        "input": list(spec.shape),
        "key": design.architecture.key,
    }


def _check_scheme(target: Target, precision: str) -> None:
    if precision not in target.schemes:
        raise UsageError(f"{target.name} has no '{precision}'; it has {', '.join(target.schemes)}")


def _traced(
    module: nn.Module, shapes: Sequence[tuple[int, ...]], target: Target, precision: str
) -> dict[str, Any]:
    _check_scheme(target, precision)
    runtime, batch = target.runtime, shapes[0][0]
    record = trace(module, *shapes, layout=runtime.layout)
    peak = peak_bytes(record, FLOAT_BYTES[precision], rules=rules_of(runtime, precision))
    counts = (record.macs // batch, record.param_count, peak)
    found = _record(target, shapes, precision, counts, launches(record, runtime, precision))
    return {**found, "input": list(shapes[0][1:])}


def _record(
    target: Target,
    shapes: Sequence[tuple[int, ...]],
    precision: str,
    counts: tuple[int, int, int],
    kernels: Iterable[Kernel],
) -> dict[str, Any]:
    launched = priced(target, list(kernels))
    sums = sums_of(launched)
    total = sums.total()
    macs, params, peak = counts
    energy = energy_mj(target.power, total, [(k.kernel, k.estimate) for k in launched])
    unknown = sorted({k.kernel.detail for k in launched if is_unknown(k.kernel)})
    return {
        "target": target.name,
        "runtime": target.runtime.name,
        "coverage": target.coverage,
        "batch": shapes[0][0],
        "precision": precision,
        "inputs": [list(shape) for shape in shapes],
        "latency_ms": total.value,
        "low_ms": total.low,
        "high_ms": total.high,
        "device_ms": sums.value,
        "host_ms": sums.host,
        "bound_by": "host" if sums.host > sums.value else "device",
        "energy_mj": energy and energy.value,
        "energy_low_mj": energy and energy.low,
        "energy_high_mj": energy and energy.high,
        "macs": macs,
        "params": params,
        "peak_bytes": peak,
        "weight_bytes": sum(k.kernel.weight_bytes for k in launched),
        "without_rule": unknown,
        "kernels": [_row(k) for k in launched],
    }


def _row(priced: PricedKernel) -> dict[str, Any]:
    kernel, estimate = priced.kernel, priced.estimate
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
        "host_ms": priced.host.value if priced.host else 0.0,
        "path": kernel.path,
        "detail": kernel.detail,
    }
