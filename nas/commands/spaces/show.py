"""`nas spaces show`: what the rules of a space say."""

from __future__ import annotations

import argparse
import json

from nas.commands import options

EXAMPLE = "nas spaces show conv_large_kernel"


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser("show", help="rules and domains of a space")
    options.add_space(parser)
    parser.add_argument("--text", action="store_true", help="the grammar file itself, too")
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tables, or one JSON object."""
    from rich.console import Console

    from nas.report.space import space_record, space_tables
    from searchspace.space import load_space

    space = load_space(args.name)
    record = space_record(space)
    if args.json:
        print(json.dumps(record | ({"text": space.text} if args.text else {}), indent=2))
        return 0
    console = Console(highlight=False)
    for table in space_tables(record):
        console.print(table)
    if args.text:
        print(space.text, end="")
    return 0
