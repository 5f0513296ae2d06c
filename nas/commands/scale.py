"""`nas scale`: an architecture made larger or smaller by a published rule, up to a wanted cost."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nas.commands import options
from nas.usage import UsageError

EXAMPLES = """examples:
  nas scale resnet18 --macs 4G
  nas scale efficientnet_b0 --rule tiny --macs 100M --out small
  nas scale runs/20260101-120000-conv_large_kernel-a100 --budget 2ms --target a100 --out larger
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "scale",
        help="a network made larger or smaller, up to a wanted cost",
        description="Scale depth, width and input of an architecture together, by a rule with one "
        "parameter, to the network of its space that comes nearest to what is wanted and not over. "
        "Where several costs are given, all of them hold.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_architecture(parser)
    _add_wanted(parser)
    _add_rule(parser)
    parser.add_argument(
        "--space",
        metavar="NAME",
        help="the space of a text; of any architecture, the grammar file of its space, if that "
        "does not ship",
    )
    options.add_key(parser)
    options.add_classes(parser)
    options.add_target(parser, required=False)
    options.add_shape(parser, resolution=None, batch=None)
    options.add_primitive(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="export the scaled network to this folder"
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def _add_wanted(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--macs", type=options.count, metavar="N", help="multiply-adds for one image, such as 2G"
    )
    parser.add_argument(
        "--params", type=options.count, metavar="N", help="number of parameters, such as 11.7M"
    )
    parser.add_argument(
        "--budget",
        type=options.time_ms,
        metavar="TIME",
        help="upper end of the predicted latency, such as 5ms; needs --target",
    )


def _add_rule(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rule",
        choices=("fast", "tiny"),
        default="fast",
        help="fast compound scaling (default), or the tiny formula, which only shrinks",
    )
    parser.add_argument(
        "--alpha",
        type=options.argument(_alpha),
        metavar="A",
        help="of fast: what goes to the width, from 0 to 1 (default 0.8; 1 for width alone)",
    )
    parser.add_argument(
        "--same-input", action="store_true", help="leave the size of the input as it is"
    )


def _alpha(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"alpha is a number from 0 to 1; got '{text}'")
    return value


def run(args: argparse.Namespace) -> int:
    """Scale, tell, and export."""
    from rich.console import Console

    from nas.report.scaling import scaling_lines, scaling_record, scaling_table
    from nas.scaling.scale import export_scaled, scale

    _refuse(args)
    target = options.find_target(args) if args.target is not None else None
    done = scale(
        options.architecture(args),
        macs=args.macs,
        params=args.params,
        budget_ms=args.budget,
        rule=args.rule,
        alpha=args.alpha,
        same_input=args.same_input,
        target=target,
        batch=args.batch or 1,
        precision=args.precision or (target.default_scheme if target else "fp16"),
        space=args.space,
        key=args.key,
        resolution=args.resolution,
        classes=args.classes,
    )
    if args.out is not None:
        export_scaled(done, args.out)
    record = scaling_record(done)
    people = Console(stderr=args.json, highlight=False)
    people.print(scaling_table(record))
    for line in scaling_lines(record):
        people.print(line, markup=False)
    if args.out is not None:
        people.print(f"exported {record['after']['key']} to {args.out}", markup=False)
    if args.json:
        print(json.dumps(record, indent=2))
    return 0


def _refuse(args: argparse.Namespace) -> None:
    """Raise where options contradict each other."""
    if args.macs is None and args.params is None and args.budget is None:
        raise UsageError("say what the network may cost: --macs N, --params N or --budget TIME")
    if args.budget is not None and args.target is None:
        raise UsageError("--budget needs the device that it is for: --target NAME")
    if args.target is None and (args.batch is not None or args.precision is not None):
        raise UsageError("--batch and --precision are for the latency: they need --target NAME")
    if args.alpha is not None and args.rule != "fast":
        raise UsageError(f"--alpha is of the rule fast; {args.rule} has no such parameter")
