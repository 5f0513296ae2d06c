"""Run the cases of operations in a process of its own: on the GPU, or in Triton's interpreter.

The interpreter must be chosen before Triton is imported, and a kernel at fault may take its process
with it. The process prints one JSON object a line: first a `Start`, then an `Outcome` a case.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from kernels.catalogue import load_operation, operation_names
from kernels.check import Error, Outcome, check_case, plan
from kernels.toolchain import import_triton

INTERPRETER = "Triton's interpreter on the CPU"


class CheckProcessError(RuntimeError):
    """The process ended before every case had its outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the process is about to run."""

    total: int
    """Outcomes that will follow."""
    device: str
    """Name of the GPU, or `INTERPRETER`."""
    torch_version: str
    """Of the process."""
    triton_version: str
    """Of the process."""


def run_checks(
    names: Sequence[str] = (), *, interpreted: bool | None = None
) -> Iterator[Start | Outcome]:
    """Run every case of the operations named, and yield what the process says as it says it.

    Args:
        names: Operations of the catalogue; none means all.
        interpreted: Whether to interpret; None interprets where torch sees no GPU.

    Yields:
        One `Start`, then an `Outcome` for each case and dtype.

    Raises:
        UnknownOperationError: If a name is not in the catalogue.
        AheadOfTimeError: If Triton is not installed.
        CheckProcessError: If the process dies.
    """
    names = tuple(names) or operation_names()
    for name in names:
        load_operation(name)
    import_triton()
    if interpreted is None:
        interpreted = not torch.cuda.is_available()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "kernels.check_process", *names],
            env=_environment(interpreted),
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
        try:
            yield from _read(child, said)
        finally:
            child.kill()
            child.wait()


def _environment(interpreted: bool) -> dict[str, str]:
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return os.environ | {"TRITON_INTERPRET": "1" if interpreted else "0", "PYTHONPATH": path}


def _read(child: subprocess.Popen[str], said: TextIO) -> Iterator[Start | Outcome]:
    assert child.stdout is not None
    total, done = -1, 0
    for line in child.stdout:
        record = json.loads(line)
        if "total" in record:
            total = record["total"]
            yield Start(**record)
        else:
            done += 1
            errors = tuple(Error(**error) for error in record.pop("errors"))
            yield Outcome(**record, errors=errors)
    code = child.wait()
    if code != 0 or done != total:
        said.seek(0)
        lines = [line for line in said.read().splitlines() if line.strip()]
        raise CheckProcessError(
            f"the process that checks kernels ended with code {code} after {done} cases: "
            f"{lines[-1].strip() if lines else 'it said nothing'}"
        )


def _write(records: TextIO, record: dict[str, Any]) -> None:
    print(json.dumps(record), file=records, flush=True)


def main(names: Sequence[str]) -> None:
    """Run the cases of these operations, and print the records."""
    # Whatever the kernels print must not come between the records.
    records = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from kernels.activation_triton import INTERPRETED

    device = "cpu" if INTERPRETED else "cuda"
    runs = [
        (operation, case, dtype)
        for operation in map(load_operation, names)
        for case, dtype in plan(operation, interpreted=INTERPRETED)
    ]
    start = Start(
        total=len(runs),
        device=INTERPRETER if INTERPRETED else torch.cuda.get_device_name(),
        torch_version=torch.__version__,
        triton_version=str(import_triton().__version__),
    )
    _write(records, asdict(start))
    for operation, case, dtype in runs:
        _write(records, asdict(check_case(operation, case, dtype, device)))


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main(sys.argv[1:])
