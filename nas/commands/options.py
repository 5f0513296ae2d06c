"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nas.quantities import parse_bound, parse_bytes, parse_count, parse_limit, parse_time_ms

if TYPE_CHECKING:
    from hwprofile.target import Target

T = TypeVar("T")
PRECISIONS = ("fp16", "bf16", "fp32", "tf32")


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser whose message argparse shows to the user as it is."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as fault:
            raise argparse.ArgumentTypeError(str(fault)) from None

    return parsed


def whole(least: int) -> Callable[[str], int]:
    """A parser of integers of at least `least`."""

    def parsed(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"an integer of at least {least} is needed; got '{text}'"
            )
        return int(text)

    return parsed


time_ms = argument(parse_time_ms)
count = argument(parse_count)
bound = argument(parse_bound)
size = argument(parse_bytes)
limit = argument(parse_limit)


def _share(text: str) -> float:
    from hwprofile.spread import check_coverage

    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"a share is a number such as 0.9; got '{text}'") from None
    check_coverage(value)
    return value


share = argument(_share)


def _shape(text: str) -> tuple[int, ...]:
    sides = text.lower().split("x")
    if not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ValueError(f"a shape is sizes above 0 joined by x, such as 8x3x224x224; got '{text}'")
    return tuple(int(side) for side in sides)


shape = argument(_shape)


def find_target(args: argparse.Namespace) -> Target:
    """The target that `add_target` was given, calibrated where there is something to do it by."""
    from hwprofile.profile_table import NoProfileError
    from nas.targets import find_target as find

    asked = {"runtime": args.runtime, "coverage": args.coverage}
    try:
        target = find(args.target, **asked)
    except NoProfileError:
        from nas.first_use import measure_first  # heavy: torch

        measure_first(yes=args.yes)
        target = find(args.target, **asked)
    if args.calibrate is None:
        return target
    from nas.calibrate import calibrated  # heavy: torch

    return calibrated(target, args.calibrate)


def add_value(
    parser: argparse.ArgumentParser,
    name: str,
    metavar: str,
    parse: Callable[[str], object],
    said: str,
    default: object = None,
) -> None:
    """An option that takes one value."""
    parser.add_argument(name, metavar=metavar, type=parse, help=said, default=default)


def add_target(
    parser: argparse.ArgumentParser, *, required: bool = True, default: str | None = None
) -> None:
    """`--target`."""
    said = f" (default {default})" if default else ""
    parser.add_argument(
        "--target",
        required=required,
        default=default,
        metavar="NAME",
        help=f"device that latency is predicted for: a name of 'nas targets', a TOML file, or "
        f"package.module:name of a target of one's own{said}",
    )
    parser.add_argument(
        "--runtime",
        metavar="NAME",
        help="what launches the kernels: cuda-graph (default), eager or inductor on a GPU, "
        "cpu-eager (default) or cpu-inductor on a CPU",
    )
    parser.add_argument(
        "--coverage",
        type=share,
        default=0.9,
        metavar="SHARE",
        help="how many measured latencies the range is to hold, such as 0.95 (default 0.9)",
    )
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="FILE|RUN",
        help="correct the target by networks measured there: a run that 'nas verify' measured, or "
        "a CSV with the columns network and latency_ms, and perhaps batch, resolution, precision",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="measure this machine's CPU without asking, where it is the target and was not yet",
    )


def add_shape(
    parser: argparse.ArgumentParser, *, resolution: int | None, batch: int | None
) -> None:
    """`--batch`, `--resolution`, `--precision`."""
    parser.add_argument(
        "--batch",
        type=whole(1),
        default=batch,
        metavar="N",
        help=f"images in one forward pass (default {batch or 'as recorded, else 1'})",
    )
    parser.add_argument(
        "--resolution",
        type=whole(1),
        default=None,
        metavar="PIXELS",
        help=f"height and width of the input (default {resolution or 'as recorded, else 224'})",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=None,
        help="number format of the network (default fp16 on a GPU, fp32 on a CPU)",
    )


def add_space(parser: argparse.ArgumentParser) -> None:
    """The space that an action is about, and `--primitive`."""
    parser.add_argument("name", metavar="NAME", help="name, or path of a .grammar file")
    add_primitive(parser)


def add_architecture(parser: argparse.ArgumentParser) -> None:
    """The architecture that a command is about; `-` is for standard input."""
    parser.add_argument(
        "architecture",
        metavar="ARCH",
        help="a run's folder (its best design), an exported folder, an architecture file, the "
        "name of a published network, or the text of an architecture; - reads the text from "
        "standard input",
    )


def architecture(args: argparse.Namespace) -> str:
    """What `add_architecture` was given, or the text on standard input."""
    given: str = args.architecture
    return sys.stdin.read().strip() if given == "-" else given


def add_key(parser: argparse.ArgumentParser) -> None:
    """`--key`."""
    parser.add_argument(
        "--key", metavar="KEY", help="of a run: another design of its front, by its key"
    )


def add_classes(parser: argparse.ArgumentParser) -> None:
    """`--classes`, of a network that is not of a run."""
    parser.add_argument(
        "--classes",
        type=whole(1),
        metavar="N",
        help="size of the output of a text (default: that of the space) or a published network",
    )


def add_primitive(parser: argparse.ArgumentParser) -> None:
    """`--primitive`; what it names is taken in before the command runs."""
    parser.add_argument(
        "--primitive",
        dest="primitives",
        action="append",
        default=[],
        metavar="PLACE",
        help="primitive that the space uses: package.module:NAME; may be given several times",
    )


def add_json(parser: argparse._ActionsContainer) -> None:
    """`--json`."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object to standard output, everything else to standard error",
    )
