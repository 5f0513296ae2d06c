"""Triton and the CUDA tools that ship in its wheel."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from typing import Any


class AheadOfTimeError(RuntimeError):
    """A kernel could not be compiled or read without its GPU; the message says what to do."""


def import_triton() -> Any:
    """Return the module.

    Raises:
        AheadOfTimeError: If it is not installed.
    """
    try:
        import triton
    except ModuleNotFoundError as error:
        raise AheadOfTimeError(
            "compiling ahead of time needs Triton, which is not installed: on Linux, "
            "pip install 'triton>=3.6'"
        ) from error
    return triton


def run_tool(triton: Any, name: str, *arguments: str) -> str:
    """Run `cuobjdump`, `nvdisasm` or `ptxas` and return what it prints.

    Raises:
        AheadOfTimeError: If it does not start, or fails.
    """
    cure = (
        f"Triton's wheel ships {name}; reinstall Triton, or point TRITON_{name.upper()}_PATH at "
        "the one in a CUDA toolkit"
    )
    try:
        path = getattr(triton.knobs.nvidia, name).path
        done = subprocess.run([path, *arguments], check=True, capture_output=True, text=True)
    except (OSError, RuntimeError) as error:
        raise AheadOfTimeError(f"{name} does not start ({error}). {cure}.") from error
    except subprocess.CalledProcessError as error:
        raise AheadOfTimeError(f"{name} fails: {error.stderr.strip()}. {cure}.") from error
    return done.stdout


@cache
def assembler_version() -> str:
    """Say which `ptxas` assembles: a user may point Triton at another one than its own."""
    return run_tool(import_triton(), "ptxas", "--version").strip().splitlines()[-1]


def parse_usage(text: str) -> dict[str, int]:
    """Read the line `REG:32 STACK:0 SHARED:0 LOCAL:0 ...` of `cuobjdump -res-usage`.

    Raises:
        AheadOfTimeError: If it is missing.
    """
    usage = {name: int(number) for name, number in re.findall(r"\b([A-Z]+):(\d+)", text)}
    if missing := {"REG", "STACK", "LOCAL"} - usage.keys():
        raise AheadOfTimeError(
            f"cuobjdump -res-usage printed no {', '.join(sorted(missing))}: {text!r}. Its format "
            "may have changed; use the cuobjdump of a supported Triton (3.6 or later)."
        )
    return usage
