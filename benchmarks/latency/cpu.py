"""Predicts what models and drawn architectures take on this machine's CPU, and measures it.

    nas profile --target cpu --yes
    python -m benchmarks.latency.cpu compile   # once: what torch.compile generates is kept on disk
    python -m benchmarks.latency.cpu measure --seconds 600   # again at other moments
    python -m benchmarks.latency.cpu report [--json]

No constant of the estimator is fitted to any of these models. Families in `DEVELOPMENT` were looked
at while it was written; those in `HELD_OUT` were named before and only judged. Models have random
weights, batch 1, at 224 x 224. Every run of `measure` is a moment: it takes samples of each model,
one model after the other. What counts is the median of the moments' medians. `spread` is the
slowest moment over the fastest, less one: on a shared machine no price can be near all of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.latency.zoo import build, import_timm
from hwprofile.estimate import Estimate
from hwprofile.meta_build import NoInitialValues
from hwprofile.runtime import RUNTIMES, launches
from hwprofile.targets import get_target
from hwprofile.trace import trace
from hwprofile.whole import Network, forget_compiled, ready
from predictors.latency import priced, sums_of
from searchspace.build import build as build_tree
from searchspace.sample import sample
from searchspace.space import load_space

DEVELOPMENT = (
    *("resnet18", "resnet50", "mobilenetv2_100", "efficientnet_b0", "regnety_004"),
    *("vit_tiny_patch16_224", "convnext_atto", "mixer_s32_224"),
)
"""Looked at while the estimator was written."""
HELD_OUT = (
    *("ghostnet_100", "mnasnet_100", "hrnet_w18_small", "repvgg_a0", "dla46_c", "resnest14d"),
    *("mobilevit_xxs", "edgenext_xx_small", "poolformer_s12", "mobileone_s0", "lcnet_050"),
    *("rexnet_100", "selecsls42", "darknet17", "levit_128s", "resmlp_12_224", "coat_lite_tiny"),
    *("pvt_v2_b0", "efficientformer_l1", "fastvit_t8", "xcit_nano_12_p16_224", "pit_ti_224"),
    *("hgnetv2_b0", "skresnet18", "tiny_vit_5m_224", "vgg11"),
)
"""Of other families, named before any of them was measured."""
SPACE = "space:"
_DRAWS = {
    "conv_large_kernel": (0,),
    "conv_resnet": (1,),
    "einspace": (0, 3, 7, 10),
    "hybrid": (5, 12, 19, 21),
    "mobile": (1, 3, 5, 10),
    "nasbench201": (0, 1, 2, 3),
    "nasnet": (0, 1, 3, 5),
    "pooling": (0, 1, 2, 3),
    "vit": (0, 2, 3, 4),
}
DRAWN = tuple(f"{SPACE}{space}:{number}" for space, numbers in _DRAWS.items() for number in numbers)
"""Architectures drawn from each shipped space, with other seeds than a profile draws by: the first
of 3 to 4,000 million multiply-adds, or the smallest of the first two where there are none."""
PARTS = {"development": DEVELOPMENT, "held out": HELD_OUT, "spaces": DRAWN}
RUNS = tuple((r, s) for s in ("fp32", "bf16") for r in ("cpu-eager", "cpu-inductor"))
SIDE = 224
_SAMPLES = {"fp32": 12, "bf16": 3}
"""Samples of a model at one moment."""
_MOST_SECONDS = 8.0
"""How long a model is sampled; the slowest have fewer samples."""
Found = dict[str, list[list[float]]]
"""Samples in ms by moment, by model, runtime and precision."""


def record(name: str, runtime: str) -> Any:
    """The trace of a model, or of an architecture."""
    layout = RUNTIMES[runtime].layout
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name.startswith(SPACE):
            with torch.device("meta"):
                module, shape = drawn(name)
            return trace(module, shape, layout=layout)
        return trace(build(name, SIDE), (1, 3, SIDE, SIDE), layout=layout)


def drawn(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """An architecture drawn from a space, with the shape of its input."""
    _, space, number = name.split(":")
    grammar = load_space(space)
    tree = sample(grammar, Random(f"benchmark {number}"))
    return build_tree(tree.root, grammar.input).eval(), (1, *grammar.input.shape)


def predicted(name: str, runtime: str, scheme: str) -> Estimate:
    """What is to be checked, in ms."""
    target = get_target("cpu", runtime=runtime)
    kernels = launches(record(name, runtime), target.runtime, scheme)
    return sums_of(priced(target, kernels)).total()


def network(name: str, runtime: str, scheme: str) -> Network:
    """One forward pass, ready to be made; compiled where the runtime compiles."""
    torch.manual_seed(0)
    model: nn.Module
    shape: tuple[int, ...] = (1, 3, SIDE, SIDE)
    if name.startswith(SPACE):
        model, shape = drawn(name)
    else:
        with NoInitialValues():  # of those that models choose, which take seconds
            model = created(name)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.uniform_(-0.05, 0.05)
    return ready(model.eval(), shape, RUNTIMES[runtime], scheme, device=torch.device("cpu"))


def created(name: str) -> nn.Module:
    """A model of timm's in memory."""
    timm = import_timm()
    model: nn.Module
    try:
        model = timm.create_model(name, img_size=SIDE)
    except TypeError:
        model = timm.create_model(name)
    return model


def pending(
    found: Found, runs: list[tuple[str, str]], names: Sequence[str]
) -> list[tuple[str, str, str]]:
    """What is to be measured, least measured first."""
    asked = [(name, *run) for run in runs for name in names]
    return sorted(asked, key=lambda key: len(found.get(" ".join(key), ())))


def measure(
    found: Found, runs: list[tuple[str, str]], names: Sequence[str], seconds: float
) -> Iterator[str]:
    """Measure one model after the other, each at most once, until the time is up."""
    end = time.monotonic() + seconds
    for key in pending(found, runs, names):
        if time.monotonic() >= end:
            return
        name = " ".join(key)
        try:
            run = network(*key)
        except Exception as error:  # noqa: BLE001 - foreign code: one model must not stop all
            yield f"{name} does not run: {str(error).splitlines()[0]}"
            continue
        samples: list[float] = []
        while len(samples) < _SAMPLES[key[2]] and sum(samples) < _MOST_SECONDS * 1e3:
            start = time.perf_counter()
            run()
            samples.append((time.perf_counter() - start) * 1e3)
        found.setdefault(name, []).append(samples)
        del run
        forget_compiled()
        yield f"{name}: {statistics.median(samples):.1f} ms"


def report(found: Found) -> dict[str, Any]:
    """Errors by runtime, precision and part, and every model's figures."""
    from scipy.stats import kendalltau

    rows, figures = [], []
    for runtime, scheme in RUNS:
        for part, names in PARTS.items():
            mine = []
            for name in names:
                moments = [
                    statistics.median(x) for x in found.get(f"{name} {runtime} {scheme}", ())
                ]
                if not moments:
                    continue
                price, taken = predicted(name, runtime, scheme), statistics.median(moments)
                mine.append(
                    {
                        "model": name,
                        "runtime": runtime,
                        "scheme": scheme,
                        "part": part,
                        "moments": len(moments),
                        "measured_ms": taken,
                        "spread": max(moments) / min(moments) - 1,
                        "predicted_ms": price.value,
                        "low_ms": price.low,
                        "high_ms": price.high,
                    }
                )
            if not mine:
                continue
            rows += mine
            errors = [abs(row["predicted_ms"] / row["measured_ms"] - 1) for row in mine]
            pairs = ([row[key] for row in mine] for key in ("predicted_ms", "measured_ms"))
            figures.append(
                {
                    "runtime": runtime,
                    "scheme": scheme,
                    "part": part,
                    "models": len(mine),
                    "spread": statistics.median(row["spread"] for row in mine),
                    "median_error": statistics.median(errors),
                    "within_15": sum(error <= 0.15 for error in errors) / len(errors),
                    "kendall_tau": float(kendalltau(*pairs).statistic),
                    "inside_range": sum(
                        row["low_ms"] <= row["measured_ms"] <= row["high_ms"] for row in mine
                    )
                    / len(mine),
                }
            )
    return {"figures": figures, "models": rows}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("action", choices=("compile", "measure", "report"))
    parser.add_argument("--out", type=Path, default=Path("runs/cpu-models.json"))
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--runtime", choices=("cpu-eager", "cpu-inductor"))
    parser.add_argument("--scheme", choices=("fp32", "bf16"))
    parser.add_argument("--part", choices=tuple(PARTS), action="append")
    parser.add_argument("--model", action="append")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = json.loads(args.out.read_text("utf-8")) if args.out.is_file() else {}
    runs = [run for run in RUNS if args.runtime in (None, run[0]) and args.scheme in (None, run[1])]
    names = args.model or [name for part in args.part or PARTS for name in PARTS[part]]
    console = Console(stderr=True)
    if args.action == "compile":
        for name in names:
            for runtime, scheme in runs:
                if RUNTIMES[runtime].fuses:
                    start = time.monotonic()
                    network(name, runtime, scheme)
                    forget_compiled()
                    console.print(f"{name} {scheme}: {time.monotonic() - start:.0f} s")
        return
    if args.action == "measure":
        for said in measure(found, runs, names, args.seconds):
            console.print(said, highlight=False)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(found), encoding="utf-8")
        return
    told = report(found)
    if args.json:
        print(json.dumps(told, indent=2))
        return
    for rows in (told["figures"], told["models"]):
        table = Table(*(rows[0] if rows else ()))
        for row in rows:
            table.add_row(*(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row.values()))
        Console(width=160).print(table)


if __name__ == "__main__":
    main()
