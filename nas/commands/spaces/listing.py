"""`nas spaces` and `nas spaces list`: the spaces that ship."""

from __future__ import annotations

import argparse


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
