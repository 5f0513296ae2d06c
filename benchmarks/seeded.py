"""Evolution begun with the solver's designs against evolution begun with the fastest network.

    python -m benchmarks.seeded [--space conv_large_kernel] [--budget 5] [--evaluations 2000]
                                [--seeds 10]

The solver runs once; both kinds of run then have equally many evaluations. Compared are medians,
over the seeds, of the hypervolume of score and latency (reference: score 0 and the budget).
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track
from rich.table import Table

from nas.assemble import assemble, design_task
from nas.config import Config
from nas.record import create
from nas.search import first_proposals, run
from nas.solver.design import certify
from nas.threads import torch_threads
from nas.trial import Trial
from searchspace.architecture import Architecture
from searchspace.space import space_text


def hypervolume(trials: list[Trial], budget: float) -> float:
    """Area that the feasible trials dominate, in points times milliseconds."""
    points = sorted(
        (t.values["latency_ms"], t.values["score"]) for t in trials if t.status == "feasible"
    )
    area = best = 0.0
    for index, (latency, score) in enumerate(points):
        best = max(best, score)
        following = points[index + 1][0] if index + 1 < len(points) else budget
        area += best * max(0.0, following - latency)
    return area


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="conv_large_kernel")
    parser.add_argument("--budget", type=float, default=5.0)
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    config = Config(
        space=args.space,
        space_text=space_text(args.space),
        target="a100",
        budget_ms=args.budget,
        evaluations=args.evaluations,
    )
    parts = assemble(config)
    with torch_threads(1):
        proof = certify(design_task(parts))
    starts: dict[str, tuple[Architecture, ...]] = {
        "fastest": first_proposals(parts),
        "solver": proof.architectures(parts.grammar),
    }
    volumes: dict[str, list[float]] = {name: [] for name in starts}
    scores: dict[str, list[float]] = {name: [] for name in starts}
    for seed in track(range(args.seeds), "seeds", console=Console(stderr=True)):
        for name, first in starts.items():
            made = Config(**{**vars(config), "seed": seed})
            again = assemble(made)
            with TemporaryDirectory() as folder:
                record = create(Path(folder) / "run", made, again.objectives)
                with record:
                    trials = run(again, record, first)
            volumes[name].append(hypervolume(trials, args.budget))
            scores[name].append(max(t.values["score"] for t in trials if t.status == "feasible"))
    table = Table(box=None)
    for column in ("begun with", "hypervolume, median", "best score, median"):
        table.add_column(column, justify="right")
    for name in starts:
        table.add_row(
            name,
            f"{statistics.median(volumes[name]):,.0f}",
            f"{statistics.median(scores[name]):,.0f}",
        )
    Console().print(table)
    ratio = statistics.median(volumes["solver"]) / statistics.median(volumes["fastest"])
    print(
        f"hypervolume, solver over fastest: {ratio:.2f}; certificate: {proof.score:,.0f} of at "
        f"most {proof.bound:,.0f}, gap {proof.gap:.2%}, in {proof.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
