"""The command line: `nas COMMAND …`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from nas.commands import (
    export,
    kernels,
    predict,
    profile,
    resume,
    scale,
    search,
    spaces,
    targets,
    verify,
)
from nas.names import NameClashError, check_names

COMMANDS = (search, resume, spaces, targets, predict, verify, profile, scale, kernels, export)
USAGE, FAULT, INTERRUPTED = 2, 1, 130


class _Parser(argparse.ArgumentParser):
    """Tells a fault in one sentence, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"nas: {message} (see '{self.prog} --help')\n")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = _Parser(
        prog="nas",
        description="Neural architecture search: from a grammar to a network that keeps a budget.",
        epilog="example:\n  nas search --space conv_large_kernel --target a100 --budget 5ms\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 2 for a fault of usage, 1 for any other, 130 when interrupted."""
    args = parser().parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
    try:
        check_names()
        _take_in(getattr(args, "primitives", ()))
        return int(args.run(args))
    except NameClashError as fault:
        return _tell(fault, FAULT)
    except KeyboardInterrupt:
        return _tell("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away; let the interpreter's own flush find an open end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAULT
    except Exception as fault:
        from nas.faults import USAGE_FAULTS, USER_FAULTS, sentence  # heavy: all packages

        if isinstance(fault, USAGE_FAULTS):
            return _tell(sentence(fault), USAGE)
        if isinstance(fault, USER_FAULTS):
            return _tell(sentence(fault), FAULT)
        raise


def _take_in(places: Sequence[str]) -> None:
    """Make primitives known that `--primitive` names."""
    if places:
        from nas.plugins import add_primitives  # heavy: torch

        add_primitives(places)


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--option -5` as `--option=-5`, so that a negative value is a value and told as such."""
    joined: list[str] = []
    for argument in arguments:
        negative = len(argument) > 1 and argument[0] == "-" and argument[1] in ".0123456789"
        if negative and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _tell(message: object, code: int) -> int:
    print(f"nas: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
