"""How many architectures a second are evaluated without data, and how fast the command starts.

    python -m benchmarks.evaluate [--space NAME] [--target NAME] [--count N] [--json]

The architectures are those of a search: rows of one block, then mutants of them. Every one is
evaluated once to fill the caches (cold rate), then all again (warm rate). The baseline is the
same score without blocks: the whole network traced, fused and priced each time.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from random import Random

import torch
from rich.console import Console
from rich.table import Table

from hwprofile.fuse import fuse
from hwprofile.liveness import peak_bytes
from hwprofile.trace import trace
from nas.assemble import Parts, assemble
from nas.config import Config
from searchspace.architecture import Architecture
from searchspace.build import build
from searchspace.sample import sample
from searchspace.space import load_space, space_text
from searchspace.vary import mutate

REPEATS = 5
BASELINE = 20


def parts_of(space: str, target: str) -> Parts:
    grammar = load_space(space)
    return assemble(
        Config(
            space=space,
            space_text=space_text(space),
            target=target,
            budget_ms=5.0,
            resolution=grammar.input.height,
            channels=grammar.input.channels,
            classes=grammar.classes,
        )
    )


def architectures(parts: Parts, count: int) -> list[Architecture]:
    random = Random(0)
    drawn = [sample(parts.grammar, random, rows=True) for _ in range(count // 4)]
    while len(drawn) < count:
        drawn.append(mutate(parts.grammar, drawn[random.randrange(len(drawn))], random))
    return drawn


def whole(parts: Parts, architecture: Architecture) -> None:
    """The baseline: nothing is shared between architectures."""
    with torch.device("meta"):
        network = build(architecture.root, parts.spec)
    record = trace(network, (1, *parts.spec.shape))
    sum(parts.target.price(kernel).value for kernel in fuse(record, "fp16"))
    peak_bytes(record)


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def start_seconds() -> list[float]:
    command = [sys.executable, "-m", "nas.cli", "--help"]
    return [
        seconds(lambda: subprocess.run(command, capture_output=True, check=True)) for _ in range(7)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="conv_large_kernel")
    parser.add_argument("--target", default="a100")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    parts = parts_of(args.space, args.target)
    drawn = architectures(parts, args.count)
    evaluate = parts.evaluator.evaluate
    cold = args.count / seconds(lambda: list(evaluate(0, drawn)))
    warm = [args.count / seconds(lambda: list(evaluate(0, drawn))) for _ in range(REPEATS)]
    latency, table = parts.evaluator.latency, parts.evaluator.table
    # Trees made anew: none is the object that the table met before.
    again = [pickle.loads(pickle.dumps(drawn)) for _ in range(REPEATS)]
    priced = [
        args.count / seconds(lambda: latency.latencies([table.costs(a.root) for a in fresh]))  # noqa: B023
        for fresh in again
    ]
    baseline = BASELINE / seconds(lambda: [whole(parts, a) for a in drawn[:BASELINE]])
    starts = start_seconds()
    rows = {
        "architectures_per_second_cold": cold,
        "architectures_per_second_warm_median": statistics.median(warm),
        "architectures_per_second_warm_lowest": min(warm),
        "latencies_per_second_warm_median": statistics.median(priced),
        "latencies_per_second_warm_lowest": min(priced),
        "architectures_per_second_whole_network": baseline,
        "warm_over_whole_network": statistics.median(warm) / baseline,
        "help_seconds_median": statistics.median(starts),
        "help_seconds_highest": max(starts),
    }
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("figure", "value", title=f"{args.count} architectures of {args.space}")
    for name, value in rows.items():
        table.add_row(name, f"{value:,.3g}")
    Console().print(table)


if __name__ == "__main__":
    main()
