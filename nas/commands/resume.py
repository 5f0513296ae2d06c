"""`nas resume`: go on with a run that was stopped."""

from __future__ import annotations

import argparse
from pathlib import Path

from nas.commands import options


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "resume",
        help="go on with a run that was stopped",
        description="Go on with a run that was stopped, however it was. Nothing that was recorded "
        "is evaluated again, and the outcome is that of a run never stopped.",
        epilog="example:\n  nas resume runs/20260101-120000-conv_large_kernel-a100\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run's folder")
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay what is recorded and evaluate the rest."""
    from nas.pipeline import perform  # heavy: torch
    from nas.record import read_config

    return perform(args.folder, read_config(args.folder), as_json=args.json, resume=True)
