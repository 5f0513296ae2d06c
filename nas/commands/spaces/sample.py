"""`nas spaces sample`: random architectures."""

from __future__ import annotations

import argparse
import re

from nas.commands import options

EXAMPLE = "nas spaces sample my.grammar -n 3 --seed 7"


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser("sample", help="random architectures, one a line")
    options.add_space(parser)
    parser.add_argument("-n", type=options.whole(1), default=1, metavar="N", help="how many")
    parser.add_argument("--seed", type=options.whole(0), default=0, help="decides the draws")
    parser.add_argument(
        "--nodes", type=bounds, metavar="LOW..HIGH", help="only trees of so many nodes"
    )
    parser.add_argument(
        "--params", type=bounds, metavar="LOW..HIGH", help="only networks of so many parameters"
    )
    parser.add_argument(
        "--uniform",
        type=options.whole(1),
        metavar="N",
        help="all trees of up to N nodes equally likely, in place of the grammar's probabilities",
    )
    parser.set_defaults(run=run)


def bounds(text: str) -> tuple[int, int]:
    """`LOW..HIGH`, both ends included."""
    match = re.fullmatch(r"(\d{1,12})\.\.(\d{1,12})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError(f"a range is LOW..HIGH with LOW <= HIGH; got '{text}'")
    return int(match[1]), int(match[2])


def run(args: argparse.Namespace) -> int:
    """Architectures as text."""
    from random import Random

    from nas.usage import UsageError
    from searchspace.sample import sample_within
    from searchspace.space import load_space
    from searchspace.uniform import Uniform

    space = load_space(args.name)
    random = Random(args.seed)
    if args.uniform is not None and (args.nodes or args.params):
        raise UsageError("--uniform goes without --nodes and --params")
    uniform = Uniform(space, args.uniform) if args.uniform is not None else None
    for _ in range(args.n):
        if uniform is not None:
            print(uniform.sample(random).text)
        else:
            print(sample_within(space, random, nodes=args.nodes, params=args.params).text)
    return 0
