"""Designs scored a second in closed form: one by one, and in arrays.

    python -m benchmarks.deepmad

Random designs of the published R18's template: widths, bottlenecks, kernel sizes and depths. Each
is scored and counted. One process; making the designs is not timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from predictors.deepmad import deepmad
from predictors.designs import Designs
from predictors.structure import DENSE, PLAIN, Part, Structure
from predictors.structure_cost import counts

REPEATS = 7


def template() -> Structure:
    parts = [Part(kind=PLAIN, ins=3, out=32, k=3, s=2)]
    for stride in (2, 2, 2, 1, 2):
        parts.append(Part(kind=DENSE, ins=32, out=32, k=3, s=stride, btn=8))
    return Structure(tuple(parts))


def random_designs(number: int) -> Designs:
    draw = np.random.default_rng(0)
    shape = (number, len(template().parts))
    return Designs(
        template=template(),
        out=8 * draw.integers(4, 257, shape),
        k=2 * draw.integers(1, 3, shape) + 1,
        btn=8 * draw.integers(2, 33, shape),
        depth=draw.integers(1, 16, shape),
    )


def rate(number: int, work: Callable[[], object]) -> float:
    """Designs a second: median of the repeats."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return number / statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--designs", type=int, default=100_000)
    designs = random_designs(parser.parse_args().designs)
    single = [designs.structure(index) for index in range(min(2000, len(designs)))]
    by_one = rate(len(single), lambda: [(deepmad(s), counts(s)) for s in single])
    in_arrays = rate(len(designs), lambda: (designs.score(), designs.counts()))
    print(f"NumPy {np.__version__}, {os.cpu_count()} cores, median of {REPEATS}")
    print(f"one by one: {by_one:,.0f} designs a second ({len(single)})")
    print(f"in arrays:  {in_arrays:,.0f} designs a second ({len(designs)})")


if __name__ == "__main__":
    main()
