"""`nas spaces count`: how many architectures a space has."""

from __future__ import annotations

import argparse
import json

from nas.commands import options

EXAMPLE = "nas spaces count nasbench201"


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser("count", help="exact number of architectures")
    options.add_space(parser)
    parser.add_argument(
        "--max-nodes",
        type=options.whole(1),
        metavar="N",
        help="count trees of up to N nodes, rules and primitives, every built copy counted; needed "
        "where rules are recursive",
    )
    parser.add_argument(
        "--by-size",
        action="store_true",
        help="one line for each number of nodes; needs --max-nodes",
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """One integer, or one a size."""
    from nas.usage import UsageError
    from searchspace.count import count, count_by_size
    from searchspace.space import load_space

    if args.by_size and args.max_nodes is None:
        raise UsageError("--by-size needs --max-nodes")
    space = load_space(args.name)
    if args.by_size:
        sizes = count_by_size(space, args.max_nodes)
        if args.json:
            print(json.dumps({"space": space.name, "by_size": sizes}, indent=2))
        for size, number in sizes.items() if not args.json else ():
            print(size, number)
        return 0
    number = count(space, args.max_nodes)
    record = {"space": space.name, "max_nodes": args.max_nodes, "architectures": number}
    print(json.dumps(record, indent=2) if args.json else number)
    return 0
