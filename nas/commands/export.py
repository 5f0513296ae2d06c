"""`nas export`: write a network as stand-alone PyTorch code."""

from __future__ import annotations

import argparse
from pathlib import Path

from nas.commands import options

EXAMPLES = """examples:
  nas export runs/20260101-120000-conv_large_kernel-a100 --out my_network
  nas export architecture.json --out my_network
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "export",
        help="write a network as stand-alone PyTorch code",
        description="Write architecture.json, model.py (needs only torch), model.safetensors and a "
        "README.md. Weights are those that RUN_OR_ARCH holds, else freshly initialised.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="RUN_OR_ARCH",
        help="a run's folder (its best design), an exported folder, or an architecture file",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    options.add_key(parser)
    options.add_primitive(parser)
    parser.add_argument("--seed", type=int, default=0, help="for weights that are initialised")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export, and say where."""
    from nas.export.folder import export
    from nas.export.source_of import design_of  # heavy: torch

    design = design_of(args.source, args.key)
    folder = export(
        design.architecture,
        design.spec,
        args.out,
        weights=design.weights,
        trained=design.trained,
        seed=args.seed,
        facts=design.facts,
    )
    print(f"exported {design.architecture.key} to {folder}")
    return 0
