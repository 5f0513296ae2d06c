"""A target that measures this machine before its first use, once somebody agreed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nas.usage import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from hwprofile.cpu_table import CpuProfile


def measure_first(*, yes: bool) -> None:
    """Measure this machine's CPU, which a target needs, once somebody agreed.

    Args:
        yes: agreed already.

    Raises:
        UsageError: nobody can be asked.
        KeyboardInterrupt: somebody was asked, and said no.
    """
    import torch
    from rich.console import Console

    from hwprofile.cpu_measure import SECONDS
    from hwprofile.machine import machine_of
    from hwprofile.profile_place import profile_path

    machine = machine_of(torch.device("cpu"))
    if not yes:
        ask(
            f"target cpu needs {machine.device} measured first, for up to 3 minutes: measure now?",
            cure="target cpu needs this machine measured first: give --yes, or run "
            "'nas profile --target cpu --yes'",
        )
    measure_cpu_profile(profile_path(machine), SECONDS, Console(stderr=True))


def ask(question: str, *, cure: str) -> None:
    """Ask for a yes at the terminal.

    Raises:
        UsageError: there is no terminal; says the cure.
        KeyboardInterrupt: the answer is another.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"nobody can be asked here: {cure}")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt


def measure_cpu_profile(out: Path, seconds: float, console: Console) -> CpuProfile:
    """Measure this machine's CPU, or go on with what was begun, with a progress bar.

    Args:
        out: Parquet file to write.
        seconds: how long, all runs together.
        console: where progress is shown.
    """
    import torch
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from hwprofile.cpu_measure import finish_cpu, measure_cpu, plan_cpu
    from hwprofile.machine import machine_of

    with console.status("drawing networks") as status:
        part = plan_cpu(
            out,
            machine_of(torch.device("cpu")),
            report=lambda name: status.update(f"drawing networks of {name}"),
        )
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("measuring", total=1.0)
            for step in measure_cpu(part, seconds=seconds):
                said = f"{step.rows} rows, {step.said}"
                progress.update(task, completed=step.share, description=said)
    except KeyboardInterrupt:
        kept = f"{len(part.rows)} rows are kept in {part.path}"
        console.print(f"{kept}; the same command goes on", highlight=False, soft_wrap=True)
        raise
    return finish_cpu(part, out)
