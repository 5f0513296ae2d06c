"""`nas profile`: measure this machine's CPU, or layers of the shipped spaces on its GPU."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from nas.commands import options
from nas.first_use import ask, measure_cpu_profile
from nas.usage import UsageError

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from hwprofile.clock import Timer
    from hwprofile.measure import LayerPart

EXAMPLES = """examples:
  nas profile --target cpu --yes
  nas profile --target local --out h200.parquet --seconds 1200
  nas profile --target local --only gemm --only depthwise_conv2d --seconds 30 --yes
"""
_SECONDS = 120
_CURE = "give --yes to measure"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "profile",
        help="measure layers on this machine's CPU or GPU, into a table",
        description="Time on this machine what networks are made of: on its CPU single operations "
        "of the shipped spaces and of usual layers, from which '--target cpu' prices networks; on "
        "its GPU layers of the shipped spaces, by torch and by the Triton kernels. A run that was "
        "stopped goes on where it was when the same command is given again.",
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
        default=None,
        metavar="N",
        help="how long to measure, all runs together; drawing the networks comes before "
        "(default 120; on a CPU as long as keeps the whole within 3 minutes)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="OP",
        help="on a GPU: an operator, such as gemm; may be given several times (default all)",
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

    if args.target == "cpu":
        return _run_cpu(args)
    if not torch.cuda.is_available():
        raise UsageError("--target local is this machine's GPU, and torch sees none: --target cpu")
    device, seconds = torch.device("cuda"), args.seconds or _SECONDS
    machine = machine_of(device)
    out = _out(args, profile_path(machine))
    console = Console(stderr=True)
    if not args.yes:
        ask(f"measure {machine.device} for up to {seconds} s?", cure=_CURE)
    with console.status("drawing networks") as status:
        part = plan(
            out,
            machine,
            device,
            only=args.only,
            report=lambda name: status.update(f"drawing networks of {name}"),
        )
    try:
        _measure(part, device, timer_of(device), seconds, console)
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


def _run_cpu(args: argparse.Namespace) -> int:
    """Measure the CPU anew, or go on with what was begun; a table that exists is replaced."""
    import torch
    from rich.console import Console

    from hwprofile.cpu_measure import SECONDS
    from hwprofile.machine import machine_of
    from hwprofile.profile_place import profile_path
    from nas.report.cpu_profile import cpu_profile_record, cpu_profile_table

    if args.only:
        raise UsageError("--only chooses operators of a GPU's profile; that of a CPU has them all")
    machine, seconds = machine_of(torch.device("cpu")), args.seconds or SECONDS
    out = _out(args, profile_path(machine))
    if not args.yes:
        ask(f"measure {machine.device} for up to {seconds} s?", cure=_CURE)
    profile = measure_cpu_profile(out, seconds, Console(stderr=True))
    if args.json:
        print(json.dumps(cpu_profile_record(profile, out), indent=2))
    else:
        Console().print(cpu_profile_table(profile, out))
    return 0


def _out(args: argparse.Namespace, default: Path) -> Path:
    out: Path = args.out or default
    if out.suffix != ".parquet":
        raise UsageError(f"--out must end in .parquet; got '{out}'")
    return out


def _measure(
    part: LayerPart, device: torch.device, timer: Timer, seconds: float, console: Console
) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from hwprofile.measure import measure

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=seconds)
        for step in measure(part, device, timer, seconds=seconds):
            # Whichever ends first, the time or the layers.
            share = max(step.seconds / seconds, step.done / len(part.items))
            said = f"{step.rows} rows, {step.layer.op}"
            progress.update(task, completed=share * seconds, description=said)
