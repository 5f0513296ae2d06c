"""`nas spaces`: list, show, sample, count and draw what search spaces hold; one file an action."""

from __future__ import annotations

import argparse

from nas.commands.spaces import count, draw, sample, show
from nas.commands.spaces.listing import list_spaces

ACTIONS = (show, sample, count, draw)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's actions."""
    parser = commands.add_parser(
        "spaces",
        help="list, show, sample, count and draw what search spaces hold",
        epilog="examples:\n  nas spaces\n" + "".join(f"  {a.EXAMPLE}\n" for a in ACTIONS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=list_spaces)
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="names of the spaces that ship").set_defaults(run=list_spaces)
    for action in ACTIONS:
        action.add(actions)
