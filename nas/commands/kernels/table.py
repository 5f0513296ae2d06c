"""`nas kernels table`: registers, spills and occupancy of every kernel, by architecture."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.commands import options

if TYPE_CHECKING:
    from kernels.inspection import Inspected, Job

EXAMPLE = "nas kernels table --target sm_80 --target sm_90"


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser(
        "table",
        help="registers, spills and occupancy of every kernel of every operation",
        description="Compile every kernel for the shapes that its operation lists, and show what "
        "each takes. The first run compiles some 500 kernels, one to several seconds each; records "
        "are kept on disk, and a run that was stopped goes on where it was.",
        epilog=f"examples:\n  {EXAMPLE}\n  nas kernels table --only gemm --markdown\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        dest="targets",
        metavar="NAME",
        help="as of inspect; may be given several times (default sm_80 and sm_90)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="an operation; may be given several times (default all)",
    )
    said = parser.add_mutually_exclusive_group()
    said.add_argument(
        "--markdown", action="store_true", help="one row an operation and target, as Markdown"
    )
    options.add_json(said)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile with progress on standard error; the table or the JSON comes last."""
    from rich.console import Console

    from kernels.catalogue import load_operation, operation_names
    from kernels.inspection import all_jobs
    from nas.gpu_target import gpu_target
    from nas.report.kernel_resources import resource_record, resource_table
    from nas.report.kernel_summary import summary_markdown

    targets = [gpu_target(name) for name in args.targets or ("sm_80", "sm_90")]
    operations = [load_operation(name) for name in args.only or operation_names()]
    jobs = [
        (place, job)
        for operation in operations
        for place, target in enumerate(targets)
        for job in all_jobs(operation, target.architecture)
    ]
    kernels = _compiled([job for _, job in jobs])
    found: list[list[Inspected]] = [[] for _ in targets]
    for (place, _), kernel in zip(jobs, kernels, strict=True):
        found[place].append(kernel)
    if args.json:
        print(json.dumps(resource_record(found, targets), indent=2))
    elif args.markdown:
        print(summary_markdown(found, targets))
    else:
        Console().print(resource_table(found, targets))
    return 0


def _compiled(jobs: Sequence[Job]) -> list[Inspected]:
    """Compile in the order that is quickest, and give back in the order of the jobs.

    Where standard error is no terminal, each operation that is complete is a line.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from kernels.inspection import compile_jobs

    found: dict[int, Inspected] = {}
    left = Counter(job.operation for job in jobs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("compiling", total=len(jobs))
        for position, kernel in compile_jobs(jobs):
            found[position] = kernel
            left[kernel.operation] -= 1
            progress.update(task, advance=1, description=kernel.operation)
            if not left[kernel.operation] and not console.is_terminal:
                print(f"{kernel.operation}: {len(found)} of {len(jobs)} kernels", file=sys.stderr)
    return [found[position] for position in range(len(jobs))]
