"""Measures layers on a device of this machine, one after the other, until the time is up.

What is measured lies in a part file beside the table until the table is written, so that a run that
was stopped goes on where it was.
"""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hwprofile.clock import Timer
from hwprofile.grid import layers_of_spaces, spread_order
from hwprofile.kernel_rows import kernel_of
from hwprofile.layer import LAYER_SIZES, Layer
from hwprofile.layer_calls import Call, Tensors, kernel_call, tensors_of, torch_call
from hwprofile.machine import Machine, clocks_of
from hwprofile.part_file import Codec, Part, read_part
from hwprofile.profile_table import (
    Profile,
    ProfileError,
    Row,
    row_of,
    row_values,
    write_profile,
)

DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""Precisions that are measured, by scheme."""
SCHEMES: dict[str, tuple[str, ...]] = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "bf16", "fp16")}
"""Those of a kind of device."""
BATCHES: dict[str, tuple[int, ...]] = {"cpu": (1, 8), "cuda": (1, 64)}
"""Images that layers are measured for, by kind of device."""
_MOST_BYTES = {"cpu": 64 << 20, "cuda": 4 << 30}
_MOST_FLOPS = {"cpu": 1e9, "cuda": 2e13}
"""Larger layers are left out: on a CPU one would take seconds."""
_EACH_SECONDS = 0.03
_SEED = 0
LayerPart = Part[Layer, Row]
_CODEC = Codec[Layer, Row](
    item=lambda layer: [layer.op, *layer.sizes],
    item_of=lambda values: Layer(values[0], tuple(values[1:])),
    row=row_values,
    row_of=row_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far a profile is."""

    layer: Layer
    """What was measured last."""
    done: int
    """Layers measured."""
    rows: int
    """Rows measured."""
    seconds: float
    """Time taken by them, earlier runs included."""


def part_of(out: Path) -> Path:
    """Where the part file of a table lies."""
    return out.with_name(out.name + ".part")


def plan(
    out: Path,
    machine: Machine,
    device: torch.device,
    *,
    only: Sequence[str] = (),
    report: Callable[[str], None] = lambda name: None,
) -> LayerPart:
    """What is to be measured: what was begun at `out`, or else layers of the shipped spaces.

    Args:
        out: where the table will be.
        machine: this one.
        device: of this machine.
        only: operators; none: all.
        report: called with the name of each space that is drawn from.

    Raises:
        ProfileError: there is a table already, an operator is unknown, or what was begun was begun
            on another machine or for something else.
    """
    unknown = [op for op in only if op not in LAYER_SIZES]
    if unknown:
        raise ProfileError(f"operators are {', '.join(LAYER_SIZES)}; got {unknown[0]!r}")
    if out.exists():
        raise ProfileError(f"{out} is there already: remove it, or give another --out")
    asked = {"schemes": SCHEMES[machine.kind], "only": tuple(dict.fromkeys(only))}
    found = read_part(part_of(out), machine, asked, _CODEC)
    if found is not None:
        return found
    layers = {
        layer.at_batch(batch)
        for layer in layers_of_spaces(seed=_SEED, report=report)
        for batch in BATCHES[machine.kind]
    }
    kept = [x for x in layers if (not only or x.op in only) and _fits(x, machine.kind)]
    part = LayerPart(
        path=part_of(out),
        machine=machine,
        asked=asked,
        items=tuple(spread_order(kept)),
        codec=_CODEC,
        facts={
            "begun": _now(),
            "python": platform.python_version(),
            "clocks_at_start": clocks_of(device),
            "tf32": False,
        },
    )
    part.begin()
    return part


def measure(
    part: LayerPart, device: torch.device, timer: Timer, *, seconds: float
) -> Iterator[Step]:
    """Measure what a part still lacks, until all runs of it took `seconds` together.

    Yields:
        A step behind each layer. The generator may be dropped at any of them.
    """
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.inference_mode():
            while part.done < len(part.items) and part.seconds < seconds:
                start, layer = time.monotonic(), part.items[part.done]
                rows, faults = _rows(part, layer, device, timer)
                part.take()
                part.add(rows, faults, time.monotonic() - start)
                yield Step(layer=layer, done=part.done, rows=len(part.rows), seconds=part.seconds)
    finally:
        torch.backends.cudnn.allow_tf32 = tf32


def finish(part: LayerPart, out: Path, device: torch.device) -> Profile:
    """Write the table of all that was measured, and remove the part file.

    Raises:
        ProfileError: nothing was measured.
    """
    if not part.rows:
        raise ProfileError("a profile needs at least one row; none was measured: give more seconds")
    facts = {
        **part.facts,
        "finished": _now(),
        "clocks_at_end": clocks_of(device),
        "seconds": round(part.seconds, 1),
        "layers": part.done,
        "faults": part.faults,
    }
    profile = Profile(machine=part.machine, rows=tuple(part.rows), facts=facts)
    write_profile(profile, out)
    part.path.unlink(missing_ok=True)
    return profile


def _rows(
    part: LayerPart, layer: Layer, device: torch.device, timer: Timer
) -> tuple[list[Row], list[str]]:
    """Time a layer in every precision, by torch and, on a GPU, by the kernels."""
    rows, faults = [], []
    for scheme in part.asked["schemes"]:
        dtype = DTYPES[scheme]
        try:
            tensors = tensors_of(layer, dtype, device, _SEED)
            calls = _calls(layer, tensors, part.machine)
            timings = timer.time(calls, _EACH_SECONDS)
        except RuntimeError as error:
            # A layer that a device does not run must not cost the others.
            faults.append(f"{layer.op} {layer.named} {scheme}: {str(error).splitlines()[0]}")
            continue
        rows += [
            Row(
                layer=layer,
                scheme=scheme,
                dtype=str(dtype).removeprefix("torch."),
                backend=backend,
                timing=timing,
            )
            for backend, timing in timings.items()
        ]
    return rows, faults


def _calls(layer: Layer, tensors: Tensors, machine: Machine) -> dict[str, Call]:
    """On a CPU torch alone: what Triton's interpreter takes says nothing."""
    calls = {"torch": torch_call(layer, tensors)}
    if machine.kind == "cuda" and machine.triton:
        call = kernel_call(layer, tensors)
        if call is not None and _serves(call):
            calls["triton"] = call
    return calls


def _serves(call: Call) -> bool:
    try:
        call()
    except NotImplementedError:
        return False
    return True


def _fits(layer: Layer, kind: str) -> bool:
    elements = sum(x.numel() for x in tensors_of(layer, torch.float32, "meta", 0).values())
    sizes = {"groups": 1, **layer.named}
    if layer.op == "bmm":
        sizes["groups"] = sizes["b"]
    flops = kernel_of(layer.op, "fp32", sizes).flops
    return 4 * elements <= _MOST_BYTES[kind] and flops <= _MOST_FLOPS[kind]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
