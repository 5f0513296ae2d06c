"""`nas kernels check`: the Triton kernels against plain torch, on this machine."""

from __future__ import annotations

import argparse
import json

from nas.commands import options

EXAMPLE = "nas kernels check --only depthwise_conv"


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser(
        "check",
        help="check every operation against plain torch on this machine",
        description="Run the awkward cases of every operation, output and gradients, against plain "
        "torch in float64: on the GPU if there is one, else in Triton's interpreter. The exit code "
        "is 1 if any case fails.",
        epilog=f"example:\n  {EXAMPLE}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="an operation; may be given several times (default all)",
    )
    parser.add_argument(
        "--interpret", action="store_true", help="take the interpreter even where there is a GPU"
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, with progress on standard error; the table or the JSON comes last."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from kernels.catalogue import load_operation
    from kernels.check import Outcome
    from kernels.check_process import Start, run_checks
    from nas.report.kernel_check import check_failures, check_record, check_table

    for name in args.only:
        load_operation(name)  # a wrong name is told before progress begins
    start: Start | None = None
    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)
        for item in run_checks(args.only, interpreted=True if args.interpret else None):
            if isinstance(item, Start):
                start = item
                progress.update(task, total=item.total)
            else:
                outcomes.append(item)
                progress.update(task, advance=1, description=item.operation)
    assert start is not None  # run_checks promises one
    if args.json:
        print(json.dumps(check_record(start, outcomes), indent=2))
    else:
        out = Console()
        out.print(check_table(start, outcomes))
        for line in check_failures(outcomes):
            out.print(line, markup=False, highlight=False)
    return 0 if all(outcome.passed for outcome in outcomes) else 1
