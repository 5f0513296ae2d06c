"""Interpolates measured residuals between sizes, in logarithms.

A new point takes the mean of its nearest measured neighbours, weighted by nearness; far from all of
them it goes back to the middle of the group, so that nothing is extrapolated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 6
"""Measured points that a new one is between."""
REACH = 2.0
"""Distance, in doublings of a size, at which neighbours say half of what they do nearby."""

Array = NDArray[np.float64]


class Residuals:
    """log(measured / prior) of the kernels of one kind, by the logarithms of their sizes.

    Args:
        points: sizes of the kernels measured, `[rows, sizes]`, all above 0.
        logs: their residuals, `[rows]`.
    """

    def __init__(self, points: Sequence[Sequence[float]], logs: Sequence[float]) -> None:
        self._points = np.log2(np.asarray(points, dtype=float))
        self._logs = np.asarray(logs, dtype=float)
        self.middle = float(np.median(self._logs))
        """What is said far from all rows."""

    def at(self, sizes: Sequence[float]) -> float:
        """The residual expected for sizes."""
        return self._between(np.log2(np.asarray(sizes, dtype=float)), self._points, self._logs)

    def left_out(self) -> Array:
        """What is left of each row's residual when the others say it, `[rows]`."""
        count = len(self._logs)
        others = [np.arange(count) != index for index in range(count)]
        return np.array(
            [
                self._logs[i] - self._between(self._points[i], self._points[kept], self._logs[kept])
                for i, kept in enumerate(others)
            ]
        )

    def _between(self, point: Array, points: Array, logs: Array) -> float:
        if not len(logs):
            return 0.0
        distances = np.linalg.norm(points - point, axis=1)
        nearest = np.argsort(distances, kind="stable")[:NEIGHBOURS]
        near = distances[nearest]
        weights = 1.0 / (near + 1e-3) ** 2
        mean = float(np.average(logs[nearest], weights=weights))
        trust = 1.0 / (1.0 + float(near[0]) / REACH)
        return trust * mean + (1.0 - trust) * float(np.median(logs))
