"""`nas search`: find a network within a budget."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.commands import options, search_options
from nas.commands.search_options import EVALUATIONS, EVALUATIONS_WITH_DATA
from nas.config import Config
from nas.usage import UsageError

if TYPE_CHECKING:
    from hwprofile.target import Target

EXAMPLES = """examples:
  nas search --space conv_large_kernel --target a100 --budget 5ms
  nas search --space conv_large_kernel --target a100 --budget 800us --quantize --seed 1
  nas search --space conv_large_kernel --target a100 --budget 1ms --data digits --workers 2
  nas search --space conv_large_kernel --target a100 --budget 5ms --strategy solve
  nas search --space conv_resnet --max-params 11.7M --strategy solve --designs 5 --front 8
  nas search --space conv_large_kernel --budget 5ms --max-memory 20MB --max-weights 5MB --quantize
  nas search --space my.grammar --target my_device.toml --budget 2ms --max-params 11.7M --json
"""
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
    options.add_value(
        parser,
        "--budget",
        "TIME",
        options.time_ms,
        "largest latency, with unit (5ms, 800us, 0.005s), held at the upper end of its range",
    )
    options.add_shape(parser, resolution=224, batch=1)
    search_options.add_bounds(parser)
    search_options.add_method(parser)
    search_options.add_solver(parser)
    search_options.add_running(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default a new one in runs/)"
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


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


def _calibration(target: Target) -> dict[str, Any] | None:
    from hwprofile.calibration import CalibratedTarget

    return asdict(target.calibration) if isinstance(target, CalibratedTarget) else None


def _config(args: argparse.Namespace) -> Config:
    from nas.fit_data import fit_to_data  # heavy: torch
    from searchspace.space import load_space, space_text

    _check(args)
    target = options.find_target(args)
    space = load_space(args.space)
    config = Config(
        space=args.space,
        space_text=space_text(args.space),
        target=args.target,
        budget_ms=args.budget,
        runtime=args.runtime,
        coverage=args.coverage,
        calibration=_calibration(target),
        batch=args.batch,
        resolution=args.resolution or space.input.height,
        channels=space.input.channels,
        precision=args.precision or target.default_scheme,
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
