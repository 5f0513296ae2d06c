"""How measured times spread about prices, and the range that holds a share of them.

Split-conformal prediction (Lei et al., "Distribution-free predictive inference for regression",
2018) of log(measured / price): of rows that no fit saw, the two tails outside a range hold half of
what may lie outside each.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVELS: tuple[float, ...] = (
    *(0.0025, 0.005, 0.01, 0.02, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.98, 0.99, 0.995, 0.9975),
)
"""Shares of rows below each of a spread's quantiles."""
_PAIR = 0.9
"""Coverage that a pair of ends stands for."""
_ROWS_A_BIN, _MOST_BINS = 200, 6
"""Rows that a spread by size should have, and how many there are at most."""


class CoverageError(ValueError):
    """A coverage that is no share, or that rests on too few rows."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of log(measured / price) at `LEVELS`."""

    logs: tuple[float, ...]
    """In the order of `LEVELS`, never falling."""

    def __post_init__(self) -> None:
        rising = all(a <= b for a, b in zip(self.logs, self.logs[1:], strict=False))
        if len(self.logs) != len(LEVELS) or not rising or not all(map(math.isfinite, self.logs)):
            raise ValueError(
                f"a spread needs {len(LEVELS)} finite quantiles that never fall; got {self.logs}"
            )

    @classmethod
    def of_pair(cls, low: float, high: float) -> Spread:
        """The spread of which 90 % lie between two shares of the price, each tail as a normal's."""
        if not 0 < low <= 1 <= high:
            raise ValueError(f"the ends must hold 0 < low <= 1 <= high; got {low} and {high}")
        unit = NormalDist().inv_cdf((1 + _PAIR) / 2)
        scores = [NormalDist().inv_cdf(level) / unit for level in LEVELS]
        return cls(tuple(math.log(high) * s if s > 0 else -math.log(low) * s for s in scores))

    @classmethod
    def of_rows(cls, logs: Sequence[float]) -> Spread:
        """The spread of rows that no fit saw, with the conformal correction for their number.

        Args:
            logs: log(measured / price) of each; at least 20.
        """
        if len(logs) < 20:
            raise CoverageError(f"a spread needs at least 20 rows; got {len(logs)}")
        rows = np.sort(np.asarray(logs, dtype=float))
        count = len(rows)
        # The k-th smallest of n rows has k / (n + 1) of all future rows below it.
        shares = np.arange(1, count + 1) / (count + 1)
        return cls(tuple(float(x) for x in np.interp(LEVELS, shares, rows)))

    def ends(self, coverage: float) -> tuple[float, float]:
        """Lower and upper end over the price, which hold `coverage` of the rows; around 1.

        Raises:
            CoverageError: the coverage is not between 0.5 and 0.995.
        """
        check_coverage(coverage)
        tail = (1 - coverage) / 2
        low, high = np.interp((tail, 1 - tail), LEVELS, self.logs)
        return min(1.0, math.exp(low)), max(1.0, math.exp(high))


@dataclass(frozen=True, slots=True)
class SizedSpread:
    """Spreads by the size of the price, so that a range holds where launches are short too.

    Conformal prediction within bins (Vovk, "Conditional validity of inductive conformal
    predictors", 2012): short launches spread otherwise than long ones.
    """

    upto_us: tuple[float, ...]
    """Prices at which a spread ends and the next begins, rising; one fewer than spreads."""
    spreads: tuple[Spread, ...]
    """From the shortest prices to the longest."""

    def __post_init__(self) -> None:
        if len(self.spreads) != len(self.upto_us) + 1 or list(self.upto_us) != sorted(self.upto_us):
            raise ValueError(
                f"there must be one spread more than rising limits between them; got "
                f"{len(self.spreads)} and {self.upto_us}"
            )

    @classmethod
    def of_one(cls, spread: Spread) -> SizedSpread:
        """The same spread for all sizes."""
        return cls((), (spread,))

    @classmethod
    def of_rows(cls, prices_us: Sequence[float], logs: Sequence[float]) -> SizedSpread:
        """Spreads of rows that no fit saw, in bins of equal numbers of rows.

        Args:
            prices_us: the price of each; at least 20.
            logs: log(measured / price) of each.
        """
        prices, rows = np.asarray(prices_us, dtype=float), np.asarray(logs, dtype=float)
        bins = min(max(len(rows) // _ROWS_A_BIN, 1), _MOST_BINS)
        shares = np.arange(1, bins) / bins
        limits = np.unique(np.quantile(prices, shares)) if bins > 1 else np.empty(0)
        # Equal prices are in one bin; limits that leave one short of rows go.
        counts = np.bincount(np.searchsorted(limits, prices), minlength=len(limits) + 1)
        limits = limits[counts[:-1] >= 20] if counts[-1] >= 20 else limits[:-1]
        place = np.searchsorted(limits, prices)
        found = tuple(Spread.of_rows(rows[place == i].tolist()) for i in range(len(limits) + 1))
        return cls(tuple(limits.tolist()), found)

    def ends(self, coverage: float) -> list[tuple[float, float]]:
        """Lower and upper end over the price by spread, as `Spread.ends`."""
        return [spread.ends(coverage) for spread in self.spreads]

    def place(self, price_us: float) -> int:
        """Which spread a price belongs to."""
        return bisect_left(self.upto_us, price_us)


def check_coverage(coverage: float) -> None:
    """Raise unless a coverage is one that spreads can give."""
    if not 0.5 <= coverage <= 0.995:
        raise CoverageError(f"a coverage must be between 0.5 and 0.995; got {coverage:g}")
