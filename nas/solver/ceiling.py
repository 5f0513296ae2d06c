"""A bound on what the largest block of a network needs, such as peak activation memory.

A network needs what its largest block does, so the bound is kept just where every block keeps it:
combinations that do not are not allowed, and no price is needed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from nas.solver.programme import Layer, Peaks, Programme

_MANY = 100.0
"""By how much one further copy that is too large exceeds every bound."""


def ceiled(programme: Programme, limit: float | None = None) -> Programme:
    """The programme with combinations that exceed its ceiling taken out.

    A combination whose first blocks alone keep it stays, and its further copies exceed all bounds
    on resources; it goes too where there are none.

    Args:
        programme: with a ceiling; of its layers others may have been made, of the same shapes.
        limit: another one than the ceiling's.
    """
    assert programme.ceiling is not None
    limit = programme.ceiling.limit if limit is None else limit
    limits = np.array([resource.limit for resource in programme.resources])
    layers = tuple(
        _held(layer, peaks, limit, limits)
        for layer, peaks in zip(programme.layers, programme.ceiling.peaks, strict=True)
    )
    ceiling = replace(programme.ceiling, limit=limit)
    return replace(programme, layers=layers, ceiling=ceiling, _steps={})


def opened(programme: Programme) -> Programme:
    """The programme with all combinations, whatever its ceiling."""
    if programme.ceiling is None:
        return programme
    return replace(programme, layers=programme.ceiling.layers, _steps={})


def _held(layer: Layer, peaks: Peaks, limit: float, limits: np.ndarray) -> Layer:
    over, again = peaks.first > limit, layer.again
    more = peaks.again > limit
    if again is not None and more.any():
        if len(limits):
            costs = again.costs.copy()
            costs[:, more] = _MANY * limits[:, None]
            again = replace(again, costs=costs)
        else:
            over = over | more
    if not over.any():
        return replace(layer, again=again)
    whole = np.where(over, -math.inf, 0.0)
    if layer.allowed.whole is not None:
        whole = whole + layer.allowed.whole
    return replace(layer, again=again, allowed=replace(layer.allowed, whole=whole))
