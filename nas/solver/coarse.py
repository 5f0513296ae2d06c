"""A programme with fewer states and modes, whose solution starts that of the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nas.solver.box import Box, Range
from nas.solver.programme import Again, Array, Design, Layer, Programme, Step, Sum

Places = list[int]
"""Indices that are kept, rising; the last is always kept."""


@dataclass(frozen=True, slots=True)
class Coarse:
    """A thinned programme, and where its states and modes stand in the whole."""

    programme: Programme
    states: tuple[Places, ...]
    """By layer: target states."""
    modes: tuple[Places, ...]

    def design(self, design: Design) -> Design:
        """The whole programme's design that equals one of the thinned programme."""
        found, source = [], 0
        for step, states, modes in zip(design, self.states, self.modes, strict=True):
            found.append(Step(source, states[step.target], modes[step.mode], step.copies))
            source = states[step.target]
        return tuple(found)

    def box(self, box: Box) -> Box:
        """The box of the whole; boxes that part the thinned programme part the whole."""
        return replace(
            box,
            targets=tuple(map(_widened, box.targets, self.states)),
            modes=tuple(map(_widened, box.modes, self.modes)),
        )


def thin(programme: Programme, most: int) -> Coarse | None:
    """The programme with about `most` states and modes in each layer; None if it has no more."""
    if all(max(layer.shape[1:]) <= most for layer in programme.layers):
        return None
    states = tuple(_kept(layer.shape[1], most) for layer in programme.layers)
    modes = tuple(_kept(layer.shape[2], most) for layer in programme.layers)
    layers, sources = [], [0]
    for layer, targets, kept in zip(programme.layers, states, modes, strict=True):
        layers.append(_thinned(layer, sources, targets, kept))
        sources = targets
    thinned = replace(programme, layers=tuple(layers), ceiling=None, _steps={})
    return Coarse(thinned, states, modes)


def _kept(count: int, most: int) -> Places:
    """Indices at equal distances, the last among them."""
    step = -(-count // most)
    return list(range(count - 1, -1, -step))[::-1]


def _thinned(layer: Layer, sources: Places, targets: Places, modes: Places) -> Layer:
    def sum_(total: Sum) -> Sum:
        return Sum(
            source=_taken(total.source, sources, modes),
            target=_taken(total.target, targets, modes),
            pair=_taken(total.pair, sources, targets),
            kinds=tuple(total.kinds[mode] for mode in modes) if total.kinds else (),
            whole=None if total.whole is None else total.whole[np.ix_(sources, targets, modes)],
        )

    again = layer.again
    if again is not None:
        here = np.ix_(targets, modes)
        again = Again(
            entropy=again.entropy[here],
            log_width=again.log_width[here],
            convs=again.convs[here],
            costs=again.costs[:, targets][:, :, modes],
        )
    return replace(
        layer,
        shape=(len(sources), len(targets), len(modes)),
        entropy=sum_(layer.entropy),
        log_width=sum_(layer.log_width),
        convs=sum_(layer.convs),
        costs=tuple(map(sum_, layer.costs)),
        allowed=sum_(layer.allowed),
        blocks=sum_(layer.blocks),
        again=again,
        volume=None if layer.volume is None else layer.volume[targets],
    )


def _taken(array: Array | float, rows: Places, columns: Places) -> Array | float:
    if isinstance(array, float):
        return array
    kept = array[..., rows, :] if array.shape[-2] > 1 else array
    return kept[..., columns] if array.shape[-1] > 1 else kept


def _widened(range_: Range, places: Places) -> Range:
    low, high = range_
    return (places[low - 1] + 1 if low else 0, places[high])
