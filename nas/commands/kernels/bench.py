"""`nas kernels bench`: the Triton kernels against torch, on this machine's GPU."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nas.commands import options

EXAMPLE = "nas kernels bench --only depthwise_conv --out bench"


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser(
        "bench",
        help="time every operation against torch on this machine's GPU",
        description="Time the Triton kernels against torch in eager mode, which runs cuDNN and "
        "cuBLAS, and against torch.compile: achieved bytes and operations a second beside what the "
        "device could do, and a plot of the gap.",
        epilog=f"examples:\n  {EXAMPLE}\n  nas kernels bench --backend cpu --only layer_norm\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="an operation; may be given several times (default all that have problems)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="where bench.json and efficiency.svg go (default: nowhere)",
    )
    parser.add_argument(
        "--backend",
        choices=("gpu", "cpu"),
        default="gpu",
        help="cpu compares torch in eager mode with torch.compile on this machine's CPU, without "
        "any kernel of this project (default gpu)",
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Time with progress on standard error; the table or the JSON comes last."""
    import datetime

    import torch
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from hwprofile.bench import BenchError, Result, bench, limits_of, work
    from hwprofile.clock import timer_of
    from hwprofile.machine import clocks_of, machine_of
    from kernels.bench_problems import select
    from nas.report.efficiency_plot import efficiency_svg
    from nas.report.kernel_bench import bench_faults, bench_record, bench_table, bench_title

    problems = select(args.only)
    if args.backend == "gpu" and not torch.cuda.is_available():
        raise BenchError(
            "kernels are timed on a GPU, and torch sees none: --backend cpu compares torch alone"
        )
    device = torch.device("cuda" if args.backend == "gpu" else "cpu")
    machine, timer = machine_of(device), timer_of(device)
    facts = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "clocks_at_start": clocks_of(device),
    }
    tasks = work(problems, machine)
    if not tasks:
        raise BenchError(f"on a CPU none of the problems of {', '.join(args.only)} are run")
    results: list[Result] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=len(tasks))
        limits = limits_of(machine, device, timer)
        for found in bench(tasks, machine, device, timer, limits):
            results += found
            progress.update(task, advance=1, description=found[0].operation)
    record = bench_record(
        results, machine, limits, {**facts, "left_out": len(problems) - len(tasks)}
    )
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "bench.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
        picture = efficiency_svg(results, bench_title(machine), limits.source)
        (args.out / "efficiency.svg").write_text(picture, "utf-8")
    if args.json:
        print(json.dumps(record, indent=2))
    else:
        out = Console()
        out.print(bench_table(results, machine, limits))
        for line in bench_faults(results):
            out.print(line, markup=False, highlight=False)
    return 0
