"""`nas spaces draw`: the picture of an architecture."""

from __future__ import annotations

import argparse
from pathlib import Path

from nas.commands import options

EXAMPLE = "nas spaces draw vit_b16 --svg vit_b16.svg"


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser(
        "draw",
        help="an architecture as a tree in the terminal, and as an SVG",
        description="Draw an architecture: its parts, what they hold, and the shapes between "
        "them. Equal parts in a row are drawn once, with their number.",
        epilog=f"examples:\n  {EXAMPLE}\n"
        "  nas spaces draw runs/20260101-120000-conv_large_kernel-a100 --svg best.svg\n"
        "  nas spaces sample vit --seed 7 | nas spaces draw - --space vit --svg vit.svg\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_architecture(parser)
    parser.add_argument("--space", metavar="NAME", help="the space of an architecture as text")
    options.add_key(parser)
    parser.add_argument(
        "--resolution",
        type=options.whole(1),
        metavar="PIXELS",
        help="height and width of the input (default: as recorded, else those of the space)",
    )
    options.add_classes(parser)
    options.add_primitive(parser)
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the picture there, too")
    parser.add_argument("--all", action="store_true", help="draw every one of equal parts")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the tree, and write the picture."""
    from rich.console import Console

    from nas.architectures import find_architecture
    from nas.report.diagram.outline import outline
    from nas.report.diagram.svg import svg
    from searchspace.graph import graph

    found = find_architecture(
        options.architecture(args),
        space=args.space,
        key=args.key,
        resolution=args.resolution,
        classes=args.classes,
    )
    drawn = graph(found.architecture.root, found.spec, fold=not args.all)
    title = f"{found.name} {found.architecture.key}"
    Console(highlight=False).print(outline(drawn, title))
    if args.svg is not None:
        args.svg.write_text(svg(drawn, title), "utf-8")
        print(f"drew {found.architecture.key} to {args.svg}")
    return 0
