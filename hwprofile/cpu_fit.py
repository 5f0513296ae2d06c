"""From measured calls to prices of kernels: a sum of terms, corrected by its nearest rows.

The price of a kernel is a sum of rates times quantities, fitted with rates that are not negative so
that it stays right beyond the sizes measured, times a correction: a Gaussian process over the
logarithms of the sizes, whose pull fades away from the rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hwprofile.cpu_features import Array, Key, keys, sizes, terms
from hwprofile.kernel import Kernel

Kind = TypeVar("Kind")
_LEAST_ROWS = 12
"""Rows that a kind needs for rates of its own."""
_MOST_ROWS = 600
"""Rows of a kind that a correction rests on: its cost grows with the third power."""
_CLIP = 1.2
"""Largest correction, in natural logarithms."""
_SCALES = (1.5, 3.0, 6.0)
_NOISES = (0.02, 0.1, 0.4)
_OUTLIER = 0.7
"""A row farther than this from the others' median, in natural logarithms, may be an outlier."""
_LEAST_MS = 2e-4
_ROUNDS = 3


@dataclass(slots=True)
class Correction:
    """A Gaussian process with an exponential kernel: log(measured / sum of terms) by sizes."""

    mean: Array
    spread: Array
    points: Array
    weights: Array
    level: float
    scale: float

    @classmethod
    def fit(cls, x: Array, y: Array) -> tuple[Correction, Array]:
        """Choose scale and noise by the error of each row when left out.

        Args:
            x: sizes `[rows, sizes]`.
            y: logarithms `[rows]`.

        Returns:
            The correction, and how far each row is from it when left out `[rows]`.
        """
        mean, spread = x.mean(0), x.std(0)
        spread[spread < 1e-9] = 1.0
        points = (x - mean) / spread
        level = float(np.median(y))
        apart = _distances(points, points)
        best: tuple[float, float, Array, Array] | None = None
        for scale in _SCALES:
            likeness = np.exp(-apart / scale)
            for noise in _NOISES:
                inverse = np.linalg.inv(likeness + noise * np.eye(len(y)))
                weights = inverse @ (y - level)
                # Rasmussen and Williams, "Gaussian Processes for Machine Learning", eq. 5.12.
                left_out = weights / np.diag(inverse)
                error = float(np.abs(left_out).mean())
                if best is None or error < best[0]:
                    best = error, scale, weights, left_out
        assert best is not None
        return cls(mean, spread, points, best[2], level, best[1]), best[3]

    def __call__(self, x: Array) -> Array:
        """The correction `[kernels]` for sizes `[kernels, sizes]`."""
        apart = _distances((x - self.mean) / self.spread, self.points)
        result: Array = self.level + np.exp(-apart / self.scale) @ self.weights
        return np.clip(result, -_CLIP, _CLIP)


@dataclass(slots=True)
class Prices:
    """Prices of the kernels of one runtime in one precision."""

    rates: dict[Key, Array] = field(default_factory=dict)
    """Rates of the terms, by kind."""
    corrections: dict[Key, Correction] = field(default_factory=dict)
    """By kind."""
    left_out: list[tuple[str, float]] = field(default_factory=list)
    """Family and log(measured / price) of every row, by a correction that does not know it."""

    @classmethod
    def fit(cls, calls: Sequence[tuple[Kernel, ...]], times_ms: Sequence[float]) -> Prices:
        """Fit on measured calls.

        Args:
            calls: the kernels that each call launches; one with several tells the time of its
                largest, of which it may launch many, once the others are priced.
            times_ms: of each.
        """
        self = cls()
        alone = [i for i, kernels in enumerate(calls) if len(kernels) == 1]
        kernels = [calls[i][0] for i in alone]
        times = np.array([times_ms[i] for i in alone])
        self._fit(kernels, times)
        several = [i for i, made in enumerate(calls) if len(made) > 1]
        if several:
            mains, rests = zip(*(_split(calls[i]) for i in several), strict=True)
            whole = np.array([times_ms[i] for i in several])
            others = np.array([self(rest).sum() for rest in rests])
            equal = np.array([len(calls[i]) for i in several]) - [len(rest) for rest in rests]
            left = np.maximum(whole - others, 0.3 * whole) / equal
            self._fit([*kernels, *mains], np.concatenate([times, left]))
        return self

    def __call__(self, kernels: Sequence[Kernel]) -> Array:
        """Times in ms `[kernels]`."""
        if not kernels:
            return np.zeros(0)
        found = self._sums(kernels)
        x, logs = sizes(kernels), np.zeros(len(kernels))
        for kind, rows in _grouped([self._corrected(k) for k in kernels]).items():
            if kind is not None:
                logs[rows] = self.corrections[kind](x[rows])
        prices: Array = found * np.exp(logs)
        return prices

    def knows(self, kernel: Kernel) -> bool:
        """Whether calls of the kernel's own function were measured."""
        return len(self._kind(kernel)) > 1

    def _fit(self, kernels: Sequence[Kernel], times: Array) -> None:
        groups: dict[Key, list[int]] = defaultdict(list)
        for i, kernel in enumerate(kernels):
            for key in keys(kernel):
                groups[key].append(i)
        a = terms(kernels)
        self.rates = {
            key: _rates(a[rows], times[rows])
            for key, rows in groups.items()
            if len(rows) >= _LEAST_ROWS or not key
        }
        logs = np.clip(np.log(times / self._sums(kernels)), -_CLIP, _CLIP)
        x, apart = sizes(kernels), logs.copy()
        self.corrections = {}
        for kind, rows in _grouped([k[:2] for k in map(self._kind, kernels)]).items():
            rows = _without_outliers(logs, rows)[:_MOST_ROWS]
            if len(rows) >= _LEAST_ROWS and kind:
                self.corrections[kind], apart[rows] = Correction.fit(x[rows], logs[rows])
        self.left_out = [(k.op, log) for k, log in zip(kernels, apart.tolist(), strict=True)]

    def _kind(self, kernel: Kernel) -> Key:
        return next(key for key in keys(kernel) if key in self.rates)

    def _corrected(self, kernel: Kernel) -> Key | None:
        kind = self._kind(kernel)[:2]
        return kind if kind in self.corrections else None

    def _sums(self, kernels: Sequence[Kernel]) -> Array:
        rates = np.array([self.rates[self._kind(kernel)] for kernel in kernels])
        sums: Array = np.maximum((terms(kernels) * rates).sum(1), _LEAST_MS)
        return sums


def _rates(a: Array, times: Array) -> Array:
    """Rates that are not negative and make relative errors small, large ones counting less.

    Args:
        a: terms `[rows, terms]`.
        times: in ms `[rows]`.
    """
    from scipy.optimize import nnls

    relative = a / times[:, None]
    scale = relative.max(0)
    scale[scale == 0] = 1.0
    relative = relative / scale
    weight = np.ones(len(times))
    rates = np.zeros(a.shape[1])
    for _ in range(_ROUNDS):
        rates, _ = nnls(relative * weight[:, None], weight)
        weight = 1 / np.sqrt(np.maximum(np.abs(relative @ rates - 1), 0.03))
    result: Array = rates / scale
    return result


def _without_outliers(logs: Array, rows: list[int]) -> list[int]:
    """Rows without those that the machine's other work delayed, which no size explains."""
    own = logs[rows]
    middle = np.median(own)
    apart = np.abs(own - middle)
    most = max(_OUTLIER, 4 * float(np.median(apart)))
    return [row for row, distance in zip(rows, apart, strict=True) if distance <= most]


def _split(kernels: tuple[Kernel, ...]) -> tuple[Kernel, tuple[Kernel, ...]]:
    """The largest of several kernels, and those that are not equal to it."""
    main = max(kernels, key=lambda k: k.flops + k.read_bytes + k.write_bytes + k.weight_bytes)
    return main, tuple(kernel for kernel in kernels if kernel != main)


def _grouped(keys: Sequence[Kind]) -> dict[Kind, list[int]]:
    groups: dict[Kind, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        groups[key].append(i)
    return groups


def _distances(a: Array, b: Array) -> Array:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    result: Array = np.sqrt(np.maximum(squares, 1e-12))
    return result
