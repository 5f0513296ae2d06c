"""`nas spaces`: list, show and sample search spaces."""

from __future__ import annotations

import argparse

from nas.commands import options


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "spaces",
        help="list, show and sample search spaces",
        epilog="examples:\n  nas spaces\n  nas spaces show conv_large_kernel\n"
        "  nas spaces sample my.grammar -n 3 --seed 7\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=list_spaces)
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="names of the spaces that ship").set_defaults(run=list_spaces)
    show = actions.add_parser("show", help="rules and domains of a space")
    show.add_argument("name", metavar="NAME", help="name, or path of a .grammar file")
    show.set_defaults(run=show_space)
    draw = actions.add_parser("sample", help="random architectures, one a line")
    draw.add_argument("name", metavar="NAME", help="name, or path of a .grammar file")
    draw.add_argument("-n", type=options.whole(1), default=1, metavar="N", help="how many")
    draw.add_argument("--seed", type=options.whole(0), default=0, help="decides the draws")
    draw.set_defaults(run=sample_space)


def list_spaces(args: argparse.Namespace) -> int:
    """Names with input and size."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from searchspace.space import load_space, space_names

    columns = ("space", "input", "classes", "rules", "about")
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in space_names():
        space = load_space(name)
        about = space.text.lstrip("# \n").splitlines()[0]
        table.add_row(name, str(space.input), str(space.classes), str(len(space.rules)), about)
    Console().print(table, markup=False)
    return 0


def show_space(args: argparse.Namespace) -> int:
    """The grammar: a table of its domains, and its text."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from searchspace.space import load_space

    space = load_space(args.name)
    table = Table("domain", "values", "number", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for domain in space.domains.values():
        table.add_row(domain.name, str(domain), str(len(domain.values)))
    Console().print(table)
    print(space.text, end="")
    return 0


def sample_space(args: argparse.Namespace) -> int:
    """Architectures as text."""
    from random import Random

    from searchspace.sample import sample
    from searchspace.space import load_space

    space = load_space(args.name)
    random = Random(args.seed)
    for _ in range(args.n):
        print(sample(space, random).text)
    return 0
