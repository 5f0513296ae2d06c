"""Arguments of `nas search`, by what they are about."""

from __future__ import annotations

import argparse
from functools import partial

from nas.commands import options

MAX_PARAMS = 100_000_000
"""Default bound: a score that rewards width needs one, and this can still be trained."""
EVALUATIONS, EVALUATIONS_WITH_DATA = 2000, 200


def add_bounds(parser: argparse.ArgumentParser) -> None:
    """What the network may be."""
    value = partial(options.add_value, parser)
    value("--classes", "N", options.whole(2), "size of the output (default 1000)")
    value(
        "--max-params",
        "N",
        options.bound,
        "largest number of parameters, such as 11.7M (default 100M; none for no bound)",
        default=MAX_PARAMS,
    )
    value(
        "--max-macs",
        "N",
        options.bound,
        "largest number of multiply-adds for one image, such as 1.8G",
    )
    value(
        "--max-memory",
        "SIZE",
        options.size,
        "largest peak activation memory of the batch, such as 20MB or 20MiB",
    )
    value(
        "--max-weights",
        "SIZE",
        options.size,
        "largest size of all weights as their precisions store them, such as 5MB",
    )
    value(
        "--max-effectiveness",
        "RHO",
        options.argument(_positive),
        "DeepMAD's bound on depth over width (default 0.5)",
        default=0.5,
    )
    parser.add_argument(
        "--limit",
        type=options.limit,
        action="append",
        default=[],
        metavar="NAME=LOW..HIGH",
        help="narrow a domain of the space, such as width=32..256; may be given several times",
    )


def add_method(parser: argparse.ArgumentParser) -> None:
    """What the search goes by, and how it looks."""
    value = partial(options.add_value, parser)
    value(
        "--data",
        "NAME",
        str,
        "train a supernet on this data set ('digits', or an .npz file) and rank by accuracy",
    )
    parser.add_argument(
        "--quantize",
        action="store_true",
        help="search the precision of every block too: the network's own or W8A8",
    )
    value(
        "--predictor",
        "NAME",
        str,
        "quality predictor instead of DeepMAD's score: zen, maedet, a plug-in's name, or "
        "package.module:Class",
    )
    value(
        "--strategy",
        "NAME",
        str,
        "evolution, tpe, random, solve, a plug-in or package.module:Class (default "
        "evolution); solve states the space as programmes and proves how good its design is",
        default="evolution",
    )
    parser.add_argument(
        "--start",
        choices=("fastest", "solver"),
        default="fastest",
        help="what the strategy begins with: the fastest architecture, or the solver's designs",
    )


def add_solver(parser: argparse.ArgumentParser) -> None:
    """What is asked of the solver."""
    value = partial(options.add_value, parser)
    parser.add_argument(
        "--solver",
        choices=("auto", "dp", "milp", "relax"),
        default="auto",
        help="what solves the programmes: branch and bound by dynamic programming (dp, and auto), "
        "HiGHS (milp), or a first design and bound (relax)",
    )
    value(
        "--gap",
        "PART",
        options.argument(_part),
        "gap to the proven bound at which the solver stops (default 0.01)",
        default=0.01,
    )
    value(
        "--solve-seconds",
        "S",
        options.argument(_positive),
        "time that the solver has (default 60); the gap reached by then is told",
        default=60.0,
    )
    value(
        "--designs",
        "K",
        options.whole(1),
        "with the solver: rank the K best designs that differ, each with what is proven of it "
        "(default 1); more than 1 may take half of --solve-seconds more",
        default=1,
    )
    value(
        "--front",
        "N",
        options.whole(2),
        "with the solver: N points of the front of score against latency, each with its "
        "proven bound, as a table and front.svg; takes up to half of --solve-seconds more",
    )
    parser.add_argument(
        "--front-over",
        choices=("latency", "macs", "params", "weights"),
        help="what the front is over (default the first of these that is bounded)",
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """How much is judged, and where."""
    value = partial(options.add_value, parser)
    value(
        "--evaluations",
        "N",
        options.whole(1),
        f"candidates to evaluate (default {EVALUATIONS}; {EVALUATIONS_WITH_DATA} with --data)",
    )
    value(
        "--workers",
        "N",
        options.whole(0),
        "Ray actors that judge candidates (default 0: the process itself)",
        default=0,
    )
    value("--ray-address", "HOST:PORT", str, "Ray cluster to join")
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
