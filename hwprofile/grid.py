"""Which layers are timed: those of the shipped spaces, spread evenly in logarithms of their sizes.

Architectures are drawn from every space and traced. Their distinct layers, at several batches, are
put in an order of which every beginning is a good sample: within an operator each layer is the one
farthest from all before it, and the operators take turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from random import Random

import numpy as np

from hwprofile.blocks import BlockTable
from hwprofile.layer import Layer, layer_of
from searchspace.sample import sample
from searchspace.space import load_space, space_names

SAMPLES = 6
"""Architectures drawn from each space. More find few layers that are far from all others."""
MOST_LAYERS = 400
"""Layers of one operator that are put in order; a profile times fewer."""


def layers_of_spaces(
    names: Sequence[str] | None = None,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    report: Callable[[str], None] = lambda name: None,
) -> list[Layer]:
    """Distinct layers, for one image, of architectures drawn from spaces; sorted.

    Args:
        names: spaces; None: all that ship.
        samples: architectures drawn from each.
        seed: decides the draws.
        report: called with the name of each space before it is drawn from.
    """
    found: set[Layer] = set()
    for name in space_names() if names is None else names:
        report(name)
        grammar = load_space(name)
        random = Random(f"{seed}:{name}")
        table = BlockTable(grammar.input)
        for _ in range(samples):
            for block in table.costs(sample(grammar, random).root).blocks:
                found.update(filter(None, map(layer_of, block.record.calls)))
    return sorted(found)


def spread_order(layers: Iterable[Layer], *, most: int = MOST_LAYERS) -> list[Layer]:
    """Order layers so that every beginning is spread over operators and sizes.

    Args:
        layers: distinct.
        most: of each operator; the rest is left out.
    """
    by_op: dict[str, list[Layer]] = {}
    for layer in sorted(layers):
        by_op.setdefault(layer.op, []).append(layer)
    turns: list[tuple[float, Layer]] = []
    for group in by_op.values():
        ordered = _farthest_first(group, most)
        # Operators that the spaces use in more sizes take more turns.
        share = math.sqrt(len(group))
        turns += [((place + 1) / share, layer) for place, layer in enumerate(ordered)]
    return [layer for _, layer in sorted(turns)]


def _farthest_first(group: Sequence[Layer], most: int) -> list[Layer]:
    """Begin in the middle; then always the layer farthest from those taken."""
    points = np.log2(1 + np.array([layer.sizes for layer in group], dtype=float))
    chosen = int(np.argmin(np.linalg.norm(points - points.mean(0), axis=1)))
    nearest = np.full(len(group), math.inf)
    order = []
    for _ in range(min(most, len(group))):
        order.append(group[chosen])
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen], axis=1))
        nearest[chosen] = -1.0
        chosen = int(np.argmax(nearest))
    return order
