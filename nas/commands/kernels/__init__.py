"""`nas kernels`: check, inspect, list and time the Triton kernels; one file an action."""

from __future__ import annotations

import argparse

from nas.commands.kernels import bench, check, inspect, table

ACTIONS = (check, inspect, table, bench)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's actions."""
    parser = commands.add_parser(
        "kernels",
        help="check and time the Triton kernels, and show what they take on any GPU",
        epilog="examples:\n" + "".join(f"  {action.EXAMPLE}\n" for action in ACTIONS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for action in ACTIONS:
        action.add(actions)
