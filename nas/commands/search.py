"""`nas search`: find a network within a budget."""

from __future__ import annotations

import argparse
from pathlib import Path

from nas.commands import options
from nas.config import Config
from nas.usage import UsageError

EXAMPLES = """examples:
  nas search --space conv_large_kernel --target a100 --budget 5ms
  nas search --space conv_large_kernel --target a100 --budget 800us --quantize --seed 1
  nas search --space conv_large_kernel --target a100 --budget 1ms --data digits --workers 2
  nas search --space conv_large_kernel --target a100 --budget 5ms --strategy solve
  nas search --space conv_resnet --max-params 11.7M --strategy solve --designs 5 --front 8
  nas search --space conv_large_kernel --budget 5ms --max-memory 20MB --max-weights 5MB --quantize
  nas search --space my.grammar --target my_device.toml --budget 2ms --max-params 11.7M --json
"""
MAX_PARAMS = 100_000_000
"""Default bound: a score that rewards width needs one, and this can still be trained."""
EVALUATIONS, EVALUATIONS_WITH_DATA = 2000, 200
_RESOURCES = {"latency": "high_ms", "weights": "weight_bytes"}
"""Quantities of a front that are called otherwise within."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "search",
        help="find a network within a latency budget",
        description="Find a network of a space that is fast enough on a device. Without --data the "
        "search is training-free and knows no accuracy; with it, a supernet is trained and judged.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--space", required=True, metavar="NAME", help="space of 'nas spaces', or a .grammar file"
    )
    options.add_primitive(parser)
    options.add_target(parser, required=False, default="a100")
    parser.add_argument(
        "--budget",
        type=options.time_ms,
        metavar="TIME",
        help="largest latency, with unit (5ms, 800us, 0.005s), held at the upper end of its range",
    )
    options.add_shape(parser, resolution=224, batch=1)
    _add_bounds(parser)
    _add_method(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default a new one in runs/)"
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--classes", type=options.whole(2), metavar="N", help="size of the output (default 1000)"
    )
    parser.add_argument(
        "--max-params",
        type=options.bound,
        default=MAX_PARAMS,
        metavar="N",
        help="largest number of parameters, such as 11.7M (default 100M; none for no bound)",
    )
    parser.add_argument(
        "--max-macs",
        type=options.bound,
        metavar="N",
        help="largest number of multiply-adds for one image, such as 1.8G",
    )
    parser.add_argument(
        "--max-memory",
        type=options.size,
        metavar="SIZE",
        help="largest peak activation memory of the batch, such as 20MB or 20MiB",
    )
    parser.add_argument(
        "--max-weights",
        type=options.size,
        metavar="SIZE",
        help="largest size of all weights as their precisions store them, such as 5MB",
    )
    parser.add_argument(
        "--max-effectiveness",
        type=options.argument(_positive),
        default=0.5,
        metavar="RHO",
        help="DeepMAD's bound on depth over width (default 0.5)",
    )
    parser.add_argument(
        "--limit",
        type=options.limit,
        action="append",
        default=[],
        metavar="NAME=LOW..HIGH",
        help="narrow a domain of the space, such as width=32..256; may be given several times",
    )


def _add_method(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="train a supernet on this data set ('digits', or an .npz file) and rank by accuracy",
    )
    parser.add_argument(
        "--quantize",
        action="store_true",
        help="search the precision of every block too: the network's own or W8A8",
    )
    parser.add_argument(
        "--predictor",
        metavar="NAME",
        help="quality predictor instead of DeepMAD's score: zen, maedet, a plug-in's name, or "
        "package.module:Class",
    )
    parser.add_argument(
        "--strategy",
        default="evolution",
        metavar="NAME",
        help="evolution, tpe, random, solve, a plug-in or package.module:Class (default "
        "evolution); solve states the space as programmes and proves how good its design is",
    )
    parser.add_argument(
        "--start",
        choices=("fastest", "solver"),
        default="fastest",
        help="what the strategy begins with: the fastest architecture, or the solver's designs",
    )
    parser.add_argument(
        "--solver",
        choices=("auto", "dp", "milp", "relax"),
        default="auto",
        help="what solves the programmes: branch and bound by dynamic programming (dp, and auto), "
        "HiGHS (milp), or a first design and bound (relax)",
    )
    parser.add_argument(
        "--gap",
        type=options.argument(_part),
        default=0.01,
        metavar="PART",
        help="gap to the proven bound at which the solver stops (default 0.01)",
    )
    parser.add_argument(
        "--solve-seconds",
        type=options.argument(_positive),
        default=60.0,
        metavar="S",
        help="time that the solver has (default 60); the gap reached by then is told",
    )
    parser.add_argument(
        "--designs",
        type=options.whole(1),
        default=1,
        metavar="K",
        help="with the solver: rank the K best designs that differ, each with what is proven of it "
        "(default 1); more than 1 may take half of --solve-seconds more",
    )
    parser.add_argument(
        "--front",
        type=options.whole(2),
        metavar="N",
        help="with the solver: N points of the front of score against latency, each with its "
        "proven bound, as a table and front.svg; takes up to half of --solve-seconds more",
    )
    parser.add_argument(
        "--front-over",
        choices=("latency", "macs", "params", "weights"),
        help="what the front is over (default the first of these that is bounded)",
    )
    parser.add_argument(
        "--evaluations",
        type=options.whole(1),
        metavar="N",
        help=f"candidates to evaluate (default {EVALUATIONS}; {EVALUATIONS_WITH_DATA} with --data)",
    )
    parser.add_argument(
        "--workers",
        type=options.whole(0),
        default=0,
        metavar="N",
        help="Ray actors that judge candidates (default 0: the process itself)",
    )
    parser.add_argument("--ray-address", metavar="HOST:PORT", help="Ray cluster to join")
    parser.add_argument(
        "--seed", type=options.whole(0), default=0, help="decides every random choice (default 0)"
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(f"a number above 0 is needed; got '{text}'")
    return value


def _part(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise ValueError(f"a part from 0 to below 1 is needed; got '{text}'")
    return value


def run(args: argparse.Namespace) -> int:
    """Search, and leave a run behind."""
    from nas.pipeline import new_folder, perform  # heavy: torch

    config = _config(args)
    folder = args.out or new_folder(Path("runs"), config)
    return perform(folder, config, as_json=args.json, resume=False)


def _check(args: argparse.Namespace) -> None:
    """Options that mean nothing without another one must not be passed over in silence."""
    asked = [
        name for name, given in (("--designs", args.designs > 1), ("--front", args.front)) if given
    ]
    if asked and args.strategy != "solve" and args.start != "solver":
        raise UsageError(
            f"{asked[0]} is answered by the solver: give --strategy solve, or --start solver"
        )
    if args.front_over and not args.front:
        raise UsageError("--front-over says what a front is over: give --front N too")


def _config(args: argparse.Namespace) -> Config:
    from nas.fit_data import fit_to_data  # heavy: torch
    from searchspace.space import load_space, space_text

    _check(args)
    space = load_space(args.space)
    config = Config(
        space=args.space,
        space_text=space_text(args.space),
        target=args.target,
        budget_ms=args.budget,
        batch=args.batch,
        resolution=args.resolution or space.input.height,
        channels=space.input.channels,
        precision=args.precision,
        classes=args.classes or space.classes,
        max_params=args.max_params,
        max_macs=args.max_macs,
        max_memory=args.max_memory,
        max_weights=args.max_weights,
        max_effectiveness=args.max_effectiveness,
        quantize=args.quantize,
        primitives=tuple(args.primitives),
        predictor=args.predictor,
        strategy=args.strategy,
        start="solver" if args.strategy == "solve" else args.start,
        solver=args.solver,
        gap=args.gap,
        solve_seconds=args.solve_seconds,
        designs=args.designs,
        front=args.front or 0,
        front_over=_RESOURCES.get(args.front_over, args.front_over),
        data=args.data,
        workers=args.workers,
        ray_address=args.ray_address,
        seed=args.seed,
        evaluations=args.evaluations or (EVALUATIONS_WITH_DATA if args.data else EVALUATIONS),
        limits=dict(args.limit),
    )
    if args.data is None:
        return config
    return fit_to_data(config, resolution=args.resolution, classes=args.classes)
