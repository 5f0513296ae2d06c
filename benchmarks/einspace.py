"""How sound and how fast draws of einspace are.

    python -m benchmarks.einspace [--draws N] [--mutations N] [--only sampling|networks|mutation]

* sampling: trees a second of processor time on one core, and the peak memory of a process that
  does nothing else;
* networks: every tree is checked against the grammar, built, and run forward and backward on a
  batch of two in training form. One is non-trivial if it has 10,000 parameters or more and its
  output depends on its input: the gradient at the input is not zero everywhere, or two inputs give
  two outputs;
* mutation: processor time of one mutation of ResNet-18.

Draw i of the networks comes from seed i alone, so the work can stop anywhere: what is done is kept
in runs/einspace.json, and the next call goes on from there. Delete the file to begin anew.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from benchmarks.einspace_trees import resnet18
from searchspace.architecture import Architecture
from searchspace.build import build, flow
from searchspace.check import TreeError, check
from searchspace.grammar import Grammar
from searchspace.sample import sample
from searchspace.shapes import ShapeError, vector
from searchspace.space import load_space
from searchspace.vary import mutate

LEAST_PARAMETERS = 10_000
"""Of a network that is not trivial."""
CHUNK = 50
"""Networks between two savings."""


def sampling(count: int) -> dict[str, float]:
    """Draws alone, in this process."""
    grammar = load_space("einspace")
    random, start = Random(0), time.process_time()
    slowest = 0.0
    for _ in range(count):
        before = time.process_time()
        sample(grammar, random)
        slowest = max(slowest, time.process_time() - before)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"trees_per_s": count / seconds, "slowest_ms": slowest * 1e3, "peak_mib": peak}


def apart(count: int) -> dict[str, float]:
    """As `sampling`, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.einspace", "--draws", str(count), "--apart"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def judged(grammar: Grammar, seed: int) -> dict[str, Any]:
    """What became of one draw; a fault of this project ends the benchmark, as it should."""
    root = sample(grammar, Random(seed)).root
    found: dict[str, Any] = {"valid": False, "built": False, "finite": False, "nontrivial": False}
    try:
        check(grammar, root)
        found["valid"] = flow(root, grammar.input) == vector(grammar.classes)
    except (TreeError, ShapeError) as fault:
        return {**found, "fault": str(fault)}
    torch.manual_seed(seed)
    start = time.perf_counter()
    network = build(root, grammar.input)
    found["built"] = True
    found["finite"], depends = _run(network, grammar)
    found["seconds"] = time.perf_counter() - start
    found["params"] = sum(parameter.numel() for parameter in network.parameters())
    found["nontrivial"] = depends and found["params"] >= LEAST_PARAMETERS
    return found


def _run(network: nn.Module, grammar: Grammar) -> tuple[bool, bool]:
    """Whether outputs and gradients are finite, and whether the output depends on the input."""
    x = torch.randn(2, *grammar.input.shape, requires_grad=True)
    logits = network(x)
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
    gradients = [x.grad, *(parameter.grad for parameter in network.parameters())]
    finite = all(bool(g.isfinite().all()) for g in (logits, *gradients) if g is not None)
    if x.grad is not None and bool(x.grad.any()):
        return finite, True
    network.eval()
    with torch.inference_mode():
        outputs = network(torch.randn(2, *grammar.input.shape))
    return finite, not torch.equal(outputs[0], outputs[1])


def networks(count: int, path: Path) -> Iterator[dict[str, Any]]:
    """The first `count` draws, those of the file first; the file grows chunk by chunk."""
    grammar = load_space("einspace")
    done: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    yield from done[:count]
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(len(done), count):
        found = judged(grammar, seed)
        done.append(found)
        if len(done) % CHUNK == 0 or len(done) == count:
            part = path.with_suffix(".part")
            part.write_text(json.dumps(done))
            os.replace(part, path)
        yield found


def mutation(count: int) -> dict[str, float]:
    """Mutants of ResNet-18, each of the tree itself; milliseconds of processor time."""
    grammar = load_space("einspace")
    parent = Architecture(space=grammar.name, root=resnet18(grammar))
    gc.collect()
    gc.freeze()  # else a pass of the garbage collector over torch's objects falls on some mutants
    random, times = Random(0), []
    for _ in track(range(count), "mutation", console=Console(stderr=True)):
        start = time.process_time()
        mutant = mutate(grammar, parent, random)
        times.append((time.process_time() - start) * 1e3)
        flow(mutant.root, grammar.input)
    times.sort()
    return {
        "median_ms": statistics.median(times),
        "p99_ms": times[int(0.99 * (len(times) - 1))],
        "worst_ms": times[-1],
        "first_ms": times[0],
    }


def report(rows: dict[str, str]) -> None:
    table = Table(box=None, show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--mutations", type=int, default=1_000)
    parser.add_argument("--only", choices=("sampling", "networks", "mutation"))
    parser.add_argument("--file", type=Path, default=Path("runs/einspace.json"))
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.apart:
        print(json.dumps(sampling(asked.draws)))
        return
    if asked.only in (None, "sampling"):
        found = apart(asked.draws)
        report({name: f"{value:,.1f}" for name, value in found.items()})
    if asked.only in (None, "networks"):
        shown = track(
            networks(asked.draws, asked.file), "networks", asked.draws, console=Console(stderr=True)
        )
        results = list(shown)
        counts = Counter(name for r in results for name, value in r.items() if value is True)
        large = [r["nontrivial"] for r in results if r.get("params", 0) >= LEAST_PARAMETERS]
        total, seconds = len(results), sorted(r.get("seconds", 0.0) for r in results)
        report(
            {name: f"{counts[name]:,} of {total:,}" for name in ("valid", "built", "finite")}
            | {
                "non-trivial": f"{counts['nontrivial'] / total:.1%}",
                "of those with 10,000 parameters": f"{sum(large) / max(1, len(large)):.1%}",
                "seconds a network": f"median {statistics.median(seconds):.3f}, "
                f"worst {seconds[-1]:.2f}",
                "parameters": f"most {max(r.get('params', 0) for r in results):,}",
            }
        )
        for fault in sorted({r["fault"] for r in results if "fault" in r})[:5]:
            print(fault)
    if asked.only in (None, "mutation"):
        report({name: f"{value:.2f}" for name, value in mutation(asked.mutations).items()})


if __name__ == "__main__":
    main()
