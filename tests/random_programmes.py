"""Small random programmes, and all their designs."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from nas.solver.programme import Again, Design, Layer, Programme, Resource, Step, Sum


def random_programme(seed: int) -> Programme:
    """Two to four layers of up to three states and modes, some of them tied together."""
    rng = np.random.default_rng(seed)
    layers, sources = [], 1
    count = int(rng.integers(2, 5))
    for index in range(count):
        targets, modes = (int(n) for n in rng.integers(1, 4, 2))
        shape = (sources, targets, modes)
        repeats = rng.random() < 0.7
        width = Sum(source=rng.uniform(2, 6, (sources, modes)), pair=rng.uniform(0, 1, shape[:2]))
        again_width = rng.uniform(2, 6, (targets, modes))
        gain = rng.uniform(-0.1, 0.1)
        counted = repeats and rng.random() < 0.7
        kinds = tuple(sorted(rng.integers(0, 2, modes).tolist())) if rng.random() < 0.5 else ()
        tables = rng.uniform(0, 0.5, (2, *shape[:2]) if kinds else shape[:2])
        layers.append(
            Layer(
                name=str(index),
                shape=shape,
                entropy=Sum(source=width.source / 2 + gain, pair=width.pair / 2),
                log_width=width,
                convs=Sum(source=np.full((sources, 1), float(rng.integers(1, 4)))),
                costs=tuple(
                    Sum(
                        whole=rng.uniform(0.1, 2, shape) if rng.random() < 0.5 else None,
                        target=rng.uniform(0, 1, (targets, 1)),
                        pair=tables * factor,
                        kinds=kinds,
                    )
                    for factor in (1.0, 2.0)
                ),
                allowed=Sum(pair=np.where(rng.random(shape[:2]) < 0.2, -np.inf, 0.0)),
                again=Again(
                    entropy=again_width / 2,
                    log_width=again_width,
                    convs=np.full((targets, modes), float(rng.integers(1, 4))),
                    costs=rng.uniform(0.1, 2, (2, targets, modes)),
                )
                if repeats
                else None,
                copies=(0, int(rng.integers(0, 4))) if repeats else (0, 0),
                blocks=Sum(pair=np.full(shape[:2], float(rng.integers(0, 2)))),
                counted=counted,
                volume=rng.uniform(1, 9, targets)
                if rng.random() < 0.6 or index + 1 == count
                else None,
            )
        )
        sources = targets
    return Programme(
        layers=tuple(layers),
        resources=tuple(
            Resource(name=name, unit="", limit=float(rng.uniform(2, 3 * count))) for name in "xy"
        ),
        effectiveness=float(rng.uniform(0.1, 0.8)) if rng.random() < 0.5 else None,
        penalty=float(rng.uniform(0, 3)),
    )


def designs(programme: Programme) -> Iterator[Design]:
    """Every design, allowed or not."""
    ranges = [
        product(range(la.shape[1]), range(la.shape[2]), range(la.copies[0], la.copies[1] + 1))
        for la in programme.layers
    ]
    for choice in product(*map(list, ranges)):
        source, steps = 0, []
        for target, mode, copies in choice:
            steps.append(Step(source, target, mode, copies))
            source = target
        yield tuple(steps)


def best(programme: Programme) -> float:
    """The largest score of any design that keeps all bounds; minus infinity if none does."""
    found = -np.inf
    for design in designs(programme):
        figures = programme.figures(design)
        if figures.score > found and not programme.excess(figures):
            found = figures.score
    return float(found)
