"""`nas verify`: measure a run's front on this machine, and say which predictions held."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from nas.commands import options

if TYPE_CHECKING:
    from rich.console import Console

    from nas.verify import Task, Verified

EXAMPLES = """examples:
  nas verify runs/20260101-120000-conv_large_kernel-cpu
  nas verify runs/20260101-120000-conv_large_kernel-a100 --target cpu --limit 10
  nas verify runs/20260101-120000-conv_large_kernel-cpu --runtime cpu-inductor --json
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "verify",
        help="measure a run's front here, and say which predictions held",
        description="Build the networks of a run's front, time them on this machine turn by turn, "
        "and hold the predicted ranges against it. What was measured is kept in the run's folder: "
        "a measurement that was stopped goes on where it was.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument(
        "--target",
        metavar="NAME",
        help="price and measure on this device of this machine instead: cpu, local, or its GPU's "
        "name (default the run's target)",
    )
    parser.add_argument(
        "--runtime", metavar="NAME", help="what runs the networks (default the run's, or target's)"
    )
    parser.add_argument(
        "--limit",
        type=options.whole(1),
        metavar="N",
        help="measure at most N networks, spread evenly over the front (default all)",
    )
    parser.add_argument(
        "--seconds",
        type=options.whole(1),
        default=3,
        metavar="S",
        help="how long each network is timed, after it was built (default 3)",
    )
    parser.add_argument(
        "--yes", action="store_true", help="do not ask before the CPU is measured for its first use"
    )
    parser.add_argument("--again", action="store_true", help="measure also what was measured")
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure with progress on standard error, and print which predictions held."""
    from rich.console import Console

    from nas.report.verification import verification, verification_table
    from nas.verify import known

    task = _plan(args)
    done = {} if args.again else known(task)
    people = Console(stderr=True)
    try:
        _measure(task, done, args.seconds, people)
    except KeyboardInterrupt:
        said = f"{len(done)} of {len(task.networks)} networks are measured and kept"
        people.print(f"{said}; the same command goes on", highlight=False)
        raise
    record = verification(task, [done[key] for key in task.networks])
    if args.json:
        print(json.dumps(record, indent=2))
    else:
        Console().print(verification_table(record))
    return 0


def _plan(args: argparse.Namespace) -> Task:
    """What is to be measured; this machine's CPU is profiled before its first use."""
    from functools import partial

    from hwprofile.profile_table import NoProfileError
    from nas.first_use import measure_first
    from nas.verify import plan

    planned = partial(plan, args.folder, target=args.target, runtime=args.runtime, limit=args.limit)
    try:
        return planned()
    except NoProfileError:
        measure_first(yes=args.yes)
        return planned()


def _measure(task: Task, done: dict[str, Verified], seconds: float, console: Console) -> None:
    """Measure what is not done; `done` grows."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from nas.verify import measure

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("measuring", total=len(task.networks), completed=len(done))
        for step in measure(task, done, seconds=seconds):
            if isinstance(step, str):
                progress.update(bar, description=f"building {step}")
            else:
                done.update((row.key, row) for row in step)
                progress.update(bar, description="measuring", completed=len(done))
