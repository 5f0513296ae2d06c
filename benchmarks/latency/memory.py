"""Prints predicted peak activation memory of timm's models beside what torch's allocator held.

    python -m benchmarks.latency.memory [--batch 2] [--compile 3] [--json] [MODEL ...]

Models are run on the CPU in fp32. *Held* counts tensors, *workspace* what operations give back
before they return. With `--compile N` the first N are also compiled by inductor, with freezing,
and the peak over launches is held against all that a run held, workspace included.
"""

from __future__ import annotations

import argparse
import gc
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from benchmarks.latency.zoo import build
from hwprofile.allocator import Held, held_bytes
from hwprofile.inductor import CPU_RULES
from hwprofile.liveness import peak_bytes
from hwprofile.trace import trace

MODELS = [
    "resnet18",
    "resnet50",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "densenet121",
    "mixer_s32_224",
    "mobilevit_s",
    "gcresnet33ts",
    "regnety_008",
    "ghostnet_100",
    "res2net50_26w_4s",
    "repvgg_a0",
    "poolformer_s12",
    "deit_tiny_patch16_224",
    "coat_lite_tiny",
]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model in one runtime; bytes, the input included."""

    model: str
    runtime: str
    predicted: int
    held: int
    with_workspace: int


def rows_of(name: str, *, batch: int, compiled: bool) -> list[Row]:
    """Eager in both layouts, and compiled if asked for."""
    module = build(name, 224)
    size = module.default_cfg["input_size"][-1] if _fixed(module) else 224  # type: ignore[index,operator]
    shape = (batch, 3, size, size)
    records = {layout: trace(module, shape, layout=layout) for layout in _FORMATS}
    module = _filled(module)
    rows = []
    for layout, form in _FORMATS.items():
        module = module.to(memory_format=form)  # type: ignore[call-overload]
        x = torch.rand(shape).contiguous(memory_format=form)
        held = _held(lambda module=module, x=x: module(x))
        rows.append(_row(name, f"eager {layout}", peak_bytes(records[layout], 4), held, x))
    if compiled:
        from torch._inductor import config

        with config.patch(freezing=True), torch.no_grad():
            run = torch.compile(module)
            held = _held(lambda: run(x))
        # One operation to the profiler: all that it holds, libraries' workspace included.
        held = Held(tensors=held.all, all=held.all)
        stored = peak_bytes(records["nhwc"], 4, rules=CPU_RULES["fp32"])
        rows.append(_row(name, "inductor", stored, held, x))
        torch.compiler.reset()
    gc.collect()
    return rows


_FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def _fixed(module: nn.Module) -> bool:
    return getattr(module, "default_cfg", {}).get("fixed_input_size", False)


def _row(model: str, runtime: str, predicted: int, held: Held, x: torch.Tensor) -> Row:
    return Row(
        model=model,
        runtime=runtime,
        predicted=predicted,
        held=held.tensors + x.nbytes,
        with_workspace=held.all + x.nbytes,
    )


def _held(call: Callable[[], object]) -> Held:
    with torch.no_grad():
        call()
        return held_bytes(call)


def _filled(module: nn.Module) -> nn.Module:
    """On the CPU, with weights that keep values finite."""
    module = module.to_empty(device="cpu").eval()
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.fill_(0.01 if tensor.dtype.is_floating_point else 0)
    return module


def show(rows: list[Row]) -> Table:
    """The rows, in MiB."""
    table = Table("model", "runtime", title="Peak activation memory, MiB, fp32")
    for name in ("predicted", "held", "predicted / held", "workspace"):
        table.add_column(name, justify="right")
    for row in rows:
        mib = [size / 2**20 for size in (row.predicted, row.held, row.with_workspace - row.held)]
        share = f"{row.predicted / row.held:.3f}"
        table.add_row(
            row.model, row.runtime, f"{mib[0]:.2f}", f"{mib[1]:.2f}", share, f"{mib[2]:.2f}"
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="timm's names")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--compile", type=int, default=0, metavar="N", help="compile the first N")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    names = arguments.models or MODELS
    console = Console(stderr=True)
    for place, name in enumerate(track(names, "running models", console=console)):
        rows += rows_of(name, batch=arguments.batch, compiled=place < arguments.compile)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        Console(width=110).print(show(rows))


if __name__ == "__main__":
    main()
