"""`nas profile`: measure layers of the shipped spaces on a device of this machine."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nas.commands import options
from nas.usage import UsageError

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from hwprofile.clock import Timer
    from hwprofile.part_file import Part

EXAMPLES = """examples:
  nas profile --target cpu --yes
  nas profile --target local --out h200.parquet --seconds 1200
  nas profile --only gemm --only depthwise_conv2d --seconds 30 --yes
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "profile",
        help="measure layers on this machine's CPU or GPU, into a table",
        description="Draw networks from the shipped spaces, and time their layers on this machine: "
        "by torch, and on a GPU by the Triton kernels too. A run that was stopped goes on where it "
        "was when the same command is given again.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--target",
        choices=("cpu", "local"),
        default="cpu",
        help="this machine's CPU, or its GPU (default cpu)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="FILE",
        help="Parquet file to write (default: one a device and version, among cached files)",
    )
    parser.add_argument(
        "--seconds",
        type=options.whole(1),
        default=120,
        metavar="N",
        help="how long to measure, all runs together; drawing the networks comes before "
        "(default 120)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="OP",
        help="an operator, such as gemm; may be given several times (default all)",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before it begins")
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask, measure with progress on standard error, and print what the table holds."""
    import torch
    from rich.console import Console

    from hwprofile.clock import timer_of
    from hwprofile.machine import machine_of
    from hwprofile.measure import finish, plan
    from hwprofile.profile_place import profile_path
    from nas.report.profile import profile_record, profile_table

    if args.target == "local" and not torch.cuda.is_available():
        raise UsageError("--target local is this machine's GPU, and torch sees none: --target cpu")
    device = torch.device("cuda" if args.target == "local" else "cpu")
    machine = machine_of(device)
    out = args.out or profile_path(machine)
    if out.suffix != ".parquet":
        raise UsageError(f"--out must end in .parquet; got '{out}'")
    console = Console(stderr=True)
    if not args.yes:
        _ask(f"measure {machine.device} for up to {args.seconds} s?")
    with console.status("drawing networks") as status:
        part = plan(
            out,
            machine,
            device,
            only=args.only,
            report=lambda name: status.update(f"drawing networks of {name}"),
        )
    try:
        _measure(part, device, timer_of(device), args.seconds, console)
    except KeyboardInterrupt:
        kept = f"{len(part.rows)} rows are kept in {part.path}"
        console.print(f"{kept}; the same command goes on", highlight=False, soft_wrap=True)
        raise
    profile = finish(part, out, device)
    if args.json:
        print(json.dumps(profile_record(profile, out), indent=2))
    else:
        Console().print(profile_table(profile, out))
    return 0


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here: give --yes to measure")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt


def _measure(
    part: Part, device: torch.device, timer: Timer, seconds: float, console: Console
) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from hwprofile.measure import measure

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=seconds)
        for step in measure(part, device, timer, seconds=seconds):
            # Whichever ends first, the time or the layers.
            share = max(step.seconds / seconds, step.done / len(part.layers))
            said = f"{step.rows} rows, {step.layer.op}"
            progress.update(task, completed=share * seconds, description=said)
