"""What the blocks of a family add up to in closed form: found from a few, checked on others.

Parameters and multiply-adds of layers in a row are polynomials of degree two in the widths in which
the blocks differ; entropies are linear in the logarithms of those. A product of two convolutions'
widths never holds three of them, so all numbers come apart into tables of two widths each, as a
`nas.solver.programme.Sum` wants them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from nas.solver.programme import Array

IN, OUT, INNER = 0, 1, 2
"""Columns of a point: width that comes in, that leaves, and within."""
LOGS = 2
"""Leading quantities that are linear in logarithms: entropy, sum of log-widths."""
_TERMS = [(), *((i,) for i in range(3)), *combinations_with_replacement(range(3), 2)]
"""Products of columns."""
_EXACT = 1e-7
"""Largest error, relative to the largest value, at which a form counts as found."""


class FamilyError(ValueError):
    """Blocks whose numbers are in no such closed form."""


@dataclass(frozen=True, eq=False)
class Closed:
    """Quantities of a family by its widths."""

    factors: Array
    """`[terms, R - LOGS]`."""
    logs: Array
    """`[4, LOGS]`: of 1 and of each column's logarithm."""

    def at(self, points: Array) -> Array:
        """`[n, R]`: all quantities at points `[n, 3]`."""
        return np.hstack([_logs(points) @ self.logs, _products(points) @ self.factors])

    def gives(self, points: Array, values: Array) -> bool:
        """Whether these are its values at points."""
        error = np.abs(self.at(points) - values).max(axis=0)
        return bool((error <= _EXACT * np.maximum(1.0, np.abs(values).max(axis=0))).all())

    def source(self, ins: Array, inner: Array) -> Array:
        """`[R, A, M]`: what depends on the widths that come in, or within alone, or on none."""
        return self._table(ins, inner, IN, INNER, {IN, INNER}, {()})

    def target(self, outs: Array, inner: Array) -> Array:
        """`[R, B, M]`: what depends on the width that leaves, and the one within."""
        return self._table(outs, inner, OUT, INNER, {OUT}, set())

    def pair(self, ins: Array, outs: Array) -> Array:
        """`[R, A, B]`: what depends on what comes in and what leaves."""
        factors = np.zeros_like(self.factors)
        term = _TERMS.index((IN, OUT))
        factors[term] = self.factors[term]
        return self._spread(ins, outs, IN, OUT, factors, np.zeros_like(self.logs))

    def _table(
        self,
        rows: Array,
        columns: Array,
        row: int,
        column: int,
        lead: set[int],
        always: set[tuple[int, ...]],
    ) -> Array:
        factors, logs = np.zeros_like(self.factors), np.zeros_like(self.logs)
        for index, term in enumerate(_TERMS):
            if term in always or (set(term) & lead and set(term) <= {row, column}):
                factors[index] = self.factors[index]
        for axis in lead:
            logs[1 + axis] = self.logs[1 + axis]
        if always:
            logs[0] = self.logs[0]
        return self._spread(rows, columns, row, column, factors, logs)

    def _spread(
        self, rows: Array, columns: Array, row: int, column: int, factors: Array, logs: Array
    ) -> Array:
        points = np.ones((len(rows), len(columns), 3))
        points[..., row] = rows[:, None]
        points[..., column] = columns
        flat = points.reshape(-1, 3)
        found = Closed(factors, logs).at(flat).T
        return found.reshape(-1, len(rows), len(columns))


def closed(points: Array, values: Array) -> Closed:
    """The form that gives values at points; there must be more points than terms to show that.

    Args:
        points: `[n, 3]`, whole numbers; of a width that does not vary, always the same.
        values: `[n, R]`, the first `LOGS` of them linear in logarithms.

    Raises:
        FamilyError: there is none.
    """
    axes = [axis for axis in range(3) if len(np.unique(points[:, axis])) > 1]
    if IN in axes and OUT in axes and np.array_equal(points[:, IN], points[:, OUT]):
        axes.remove(OUT)
    kept = [i for i, term in enumerate(_TERMS) if set(term) <= set(axes)]
    factors = np.zeros((len(_TERMS), values.shape[1] - LOGS))
    scale = np.abs(_products(points)).max(axis=0)[kept]
    table = _products(points)[:, kept] / scale
    factors[kept] = np.linalg.lstsq(table, values[:, LOGS:])[0] / scale[:, None]
    logs = np.zeros((4, LOGS))
    columns = [0, *(1 + axis for axis in axes)]
    logs[columns] = np.linalg.lstsq(_logs(points)[:, columns], values[:, :LOGS])[0]
    found = Closed(factors, logs)
    if not found.gives(points, values):
        raise FamilyError("their costs are no polynomials of degree two in their widths")
    return found


def _products(points: Array) -> Array:
    columns = [np.prod(points[:, list(term)], axis=1) for term in _TERMS]
    return np.stack(columns, axis=1)


def _logs(points: Array) -> Array:
    return np.hstack([np.ones((len(points), 1)), np.log(np.maximum(points, 1e-9))])
