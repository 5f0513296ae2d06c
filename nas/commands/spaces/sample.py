"""`nas spaces sample`: random architectures."""

from __future__ import annotations

import argparse

from nas.commands import options

EXAMPLE = "nas spaces sample my.grammar -n 3 --seed 7"


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser("sample", help="random architectures, one a line")
    options.add_space(parser)
    parser.add_argument("-n", type=options.whole(1), default=1, metavar="N", help="how many")
    parser.add_argument("--seed", type=options.whole(0), default=0, help="decides the draws")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Architectures as text."""
    from random import Random

    from searchspace.sample import sample
    from searchspace.space import load_space

    space = load_space(args.name)
    random = Random(args.seed)
    for _ in range(args.n):
        print(sample(space, random).text)
    return 0
