"""`nas kernels table`: registers, spills and occupancy of every kernel, by architecture."""

from __future__ import annotations

import argparse
import json

from nas.commands import options

EXAMPLE = "nas kernels table --target sm_80 --target sm_90"


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser(
        "table",
        help="registers, spills and occupancy of every kernel of every operation",
        description="Compile every kernel for the shapes that its operation lists, and show what "
        "each takes. The first run takes about a second a kernel; records are kept on disk.",
        epilog=f"example:\n  {EXAMPLE}\n",
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
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile with progress on standard error; the table or the JSON comes last."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from kernels.catalogue import load_operation, operation_names
    from kernels.inspection import Inspected, inspect_all
    from nas.gpu_target import gpu_target
    from nas.report.kernel_resources import resource_record, resource_table

    targets = [gpu_target(name) for name in args.targets or ("sm_80", "sm_90")]
    operations = [load_operation(name) for name in args.only or operation_names()]
    found: list[list[Inspected]] = [[] for _ in targets]
    total = sum(len(operation.problems) for operation in operations) * len(targets)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("compiling", total=total)
        for operation in operations:
            for target, kernels in zip(targets, found, strict=True):
                for problem in inspect_all(operation, target.architecture):
                    kernels += problem
                    progress.update(task, advance=1, description=operation.name)
    if args.json:
        print(json.dumps(resource_record(found, targets), indent=2))
    else:
        Console().print(resource_table(found, targets))
    return 0
