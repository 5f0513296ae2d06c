"""A device that a script of the user's measures: a phone, an ONNX runtime, TensorRT.

The script is a function of a module and its inputs that returns milliseconds; it alone knows how
the module reaches the device. Every distinct kernel is measured once, as a module of one layer, and
kept in the folder of cached files.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from torch import Tensor, nn

from hwprofile.estimate import Estimate
from hwprofile.kernel import Kernel
from hwprofile.kernel_module import DTYPES, module_of
from hwprofile.runtime import CUDA_GRAPH, get_runtime
from hwprofile.spread import Spread
from hwprofile.target import Target
from kernels.compile_cache import cache_folder

Measure = Callable[[nn.Module, tuple[Tensor, ...]], float]
"""Milliseconds that a module takes on the device for these inputs."""

SPREAD = Spread.of_pair(0.67, 1.5)
"""How layers measured alone may differ from their part in a network. A guess: no script's rows are
at hand to measure it by."""
REPEATS = 3
"""Times that the script is asked for each kernel; the median counts."""


class ScriptError(ValueError):
    """A measuring script failed, or returned what is no time."""


class ScriptTarget(Target):
    """Prices kernels by a measuring script, each once.

    Args:
        name: where the script is; the cache goes by it.
        measure: the script.
        runtime: whose fusion the device's runtime follows; by default that of a graph.
        coverage: share that ranges are to hold.
        folder: of the cache; by default among cached files.
    """

    def __init__(
        self,
        name: str,
        measure: Measure,
        *,
        runtime: str | None = None,
        coverage: float = 0.9,
        folder: Path | None = None,
    ) -> None:
        self.name, self.coverage = name, coverage
        self.runtime = get_runtime(runtime) if runtime else CUDA_GRAPH
        self.schemes = tuple(DTYPES)
        self.default_scheme = "fp32"
        self._measure, self._ends = measure, SPREAD.ends(coverage)
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        place = folder or cache_folder().parent / "scripts"
        self._path = place / f"{digest}.jsonl"
        self._times: dict[str, float] = {}
        if self._path.is_file():
            for line in self._path.read_text("utf-8").splitlines():
                self._times.update(_entry(self._path, line))

    def alone(self, kernel: Kernel) -> Estimate:
        """As `Target.alone`.

        Raises:
            ScriptError: the script failed, or returned what is no time.
        """
        key = _key(kernel)
        time = self._times.get(key)
        if time is None:
            time = self._times[key] = self._timed(kernel)
            self._keep(key, time)
        low, high = self._ends
        return Estimate(value=time, low=time * low, high=time * high)

    def describe(self) -> str:
        """As `Target.describe`."""
        low, high = self._ends
        return (
            f"{self.name}: a measuring script\n"
            f"  {len(self._times)} kernels measured so far, kept in {self._path}\n"
            f"  fusion as in runtime {self.runtime.name}; schemes {', '.join(self.schemes)}\n"
            f"  range of a price: {low:.2f} to {high:.2f}, a guess: what layers measured alone take"
            " in a network was not compared"
        )

    def _timed(self, kernel: Kernel) -> float:
        module, inputs = module_of(kernel)
        try:
            times = [float(self._measure(module, inputs)) for _ in range(REPEATS)]
        except Exception as fault:
            raise ScriptError(
                f"the script '{self.name}' failed on {kernel.op} of {kernel.m} x {kernel.n} x "
                f"{kernel.k}: {type(fault).__name__}: {fault}"
            ) from fault
        if not all(math.isfinite(time) and time > 0 for time in times):
            raise ScriptError(
                f"the script '{self.name}' must return milliseconds above 0; it returned {times} "
                f"for {kernel.op} of {kernel.m} x {kernel.n} x {kernel.k}"
            )
        return statistics.median(times)

    def _keep(self, key: str, time: float) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kernel": key, "ms": time}) + os.linesep)


def _key(kernel: Kernel) -> str:
    sizes = {n: v for n, v in asdict(kernel).items() if n not in ("detail", "path")}
    return json.dumps(sizes, sort_keys=True)


def _entry(path: Path, line: str) -> dict[str, float]:
    try:
        found = json.loads(line)
        return {str(found["kernel"]): float(found["ms"])}
    except (ValueError, KeyError, TypeError):
        raise ScriptError(
            f"{path} is damaged at the line {line!r}: delete the file; its kernels are then "
            "measured again"
        ) from None
