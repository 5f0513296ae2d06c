"""DeepMAD's published budgets, solved to a proven gap.

    python -m benchmarks.budgets [--gap 0.01] [--seconds 60] [--only R18,R34]

Bounds are the published parameters, the toolbox's FLOPs and its effectiveness; widths and inner
widths go in steps of 8 (48 within mobile blocks), kernels are 3 and 5, and the score is the
toolbox's, for the published structures (tests/data/deepmad.json) as well.
"""

from __future__ import annotations

import argparse
import json
import resource
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nas.solver.branch import branch
from nas.solver.solution import Progress as Solved
from nas.solver.superblocks import Template, dense, gated
from nas.threads import torch_threads
from predictors.deepmad import deepmad
from predictors.structure import read_structure, write_structure
from predictors.structure_cost import counts

PUBLISHED = Path("tests/data/deepmad.json")
RESULT = Path("runs/budgets.json")


@dataclass(frozen=True)
class Budget:
    name: str
    params: float
    flops: float
    effectiveness: float
    template: Template


def budgets() -> list[Budget]:
    steps = range(8, 2049, 8)
    resnet = dense(widths=steps, mids=range(8, 513, 8), form="toolbox")

    def mobile(*strides: int) -> Template:
        return gated(
            widths=range(8, 1025, 8),
            mids=range(48, 4609, 48),
            tops=range(1280, 2561, 128),
            strides=strides,
            form="toolbox",
        )

    return [
        Budget("DeepMAD-R18", 11.7e6, 1.82e9, 0.3, resnet),
        Budget("DeepMAD-R34", 21.8e6, 3.68e9, 0.3, resnet),
        Budget("DeepMAD-R50", 25.55e6, 4.13e9, 0.3, resnet),
        Budget("DeepMAD-29M-224", 29e6, 4.5e9, 0.5, mobile(1, 2, 2, 2, 2)),
        Budget("DeepMAD-50M", 50e6, 8.7e9, 0.5, mobile(2, 2, 2, 2, 1)),
        Budget("DeepMAD-89M", 89e6, 15.4e9, 0.5, mobile(2, 2, 2, 2, 1)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gap", type=float, default=0.01)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    published = json.loads(PUBLISHED.read_text("utf-8"))
    table = Table(box=None)
    for column in (
        "budget",
        "published",
        "solved",
        "at most",
        "gap",
        "s",
        "params M",
        "GFLOPs",
        "rho",
    ):
        table.add_column(column, justify="left" if column == "budget" else "right")
    found = {}
    for budget in budgets():
        if args.only and not any(part in budget.name for part in args.only.split(",")):
            continue
        structure = read_structure(_structure(published, budget.name))
        before = deepmad(structure, form="toolbox").value
        programme = budget.template.programme(
            params=budget.params, flops=budget.flops, effectiveness=budget.effectiveness
        )
        with (
            torch_threads(1),
            Progress(
                TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True)
            ) as bar,
        ):
            task = bar.add_task(budget.name)

            def hear(
                p: Solved, bar: Progress = bar, task: int = task, name: str = budget.name
            ) -> None:
                said = f"{name}: {p.score:,.0f}, at most {p.bound:,.0f}, gap {p.gap:.2%}"
                bar.update(task, description=said)  # type: ignore[arg-type]

            solution = branch(programme, gap=args.gap, seconds=args.seconds, listen=hear)
        assert solution.design is not None
        solved = budget.template.structure(solution.design)
        cost, score, done = counts(solved), deepmad(solved, form="toolbox"), solution.progress
        table.add_row(
            budget.name,
            f"{before:,.0f}",
            f"{score.value:,.0f}",
            f"{done.bound:,.0f}",
            f"{done.gap:.2%}",
            f"{done.seconds:.0f}",
            f"{cost.params / 1e6:.2f}",
            f"{cost.flops / 1e9:.3f}",
            f"{score.effectiveness:.4f}",
        )
        found[budget.name] = {
            "structure": write_structure(solved),
            "score": float(score.value),
            "bound": done.bound,
            "seconds": done.seconds,
        }
    Console().print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:,.0f} MiB; structures in {RESULT}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=1))


def _structure(published: object, name: str) -> object:
    assert isinstance(published, dict)
    return published["published"][name]["structure"]


if __name__ == "__main__":
    main()
