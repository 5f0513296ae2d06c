"""`nas kernels inspect`: what an operation's kernels take on a GPU that need not be here."""

from __future__ import annotations

import argparse
import json

from nas.commands import options

EXAMPLE = "nas kernels inspect depthwise_conv --target a100 --shape 1x96x56x56 --kernel 31"


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.lower().split("x")
    if not all(size.isdecimal() for size in sizes):
        raise ValueError(f"a shape is sizes with x between them, such as 1x96x56x56; got '{text}'")
    return tuple(map(int, sizes))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(f"a setting is NAME=VALUE, such as stride=2; got '{text}'")
    return name, value


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser(
        "inspect",
        help="registers, spills, occupancy and instructions of an operation on a GPU",
        description="Compile an operation's kernels for a GPU, which need not be here, and show "
        "what they take of it. Nothing is run or timed.",
        epilog=f"examples:\n  {EXAMPLE}\n"
        "  nas kernels inspect depthwise_conv --target sm_90 --dtype bf16 --set activation=gelu\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("operation", metavar="OPERATION", help="name of an operation")
    parser.add_argument(
        "--target",
        required=True,
        metavar="NAME",
        help="a name of 'nas targets', a TOML file, or an architecture such as sm_90",
    )
    parser.add_argument(
        "--shape", type=options.argument(_shape), metavar="SIZES", help="such as 1x96x56x56"
    )
    parser.add_argument(
        "--dtype", default=None, metavar="NAME", help="of the input: fp32, fp16, bf16, fp8 or int8"
    )
    parser.add_argument(
        "--kernel", type=options.whole(1), metavar="K", help="short for --set kernel=K"
    )
    parser.add_argument(
        "--set",
        type=options.argument(_setting),
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="a setting of the operation, such as stride=2; may be given several times",
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile, and print the table."""
    from rich.console import Console

    from kernels.catalogue import load_operation
    from kernels.inspection import DTYPES, inspect, problem_of
    from nas.gpu_target import gpu_target
    from nas.report.kernel_resources import inspection_record, inspection_table
    from nas.usage import UsageError

    if args.dtype is not None and args.dtype not in DTYPES:
        raise UsageError(f"--dtype must be one of {', '.join(DTYPES)}; got '{args.dtype}'")
    operation = load_operation(args.operation)
    target = gpu_target(args.target)
    texts = dict(args.settings)
    if args.kernel is not None:
        texts["kernel"] = str(args.kernel)
    problem = problem_of(
        operation,
        dtype=None if args.dtype is None else DTYPES[args.dtype],
        shape=args.shape,
        texts=texts,
    )
    found = inspect(operation, problem, target.architecture)
    if args.json:
        print(json.dumps(inspection_record(found, target), indent=2))
    else:
        Console().print(inspection_table(found, target))
    return 0
