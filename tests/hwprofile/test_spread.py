"""Ranges hold the share of unseen rows that they promise."""

import math

import numpy as np
import pytest

from hwprofile.spread import LEVELS, CoverageError, SizedSpread, Spread


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_ranges_of_rows_hold_as_many_unseen_rows_as_promised(coverage):
    generator = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        rows = generator.standard_t(4, size=400) * 0.1 + 0.03
        low, high = Spread.of_rows(rows[:200]).ends(coverage)
        inside.append(np.mean((rows[200:] >= math.log(low)) & (rows[200:] <= math.log(high))))
    assert np.mean(inside) == pytest.approx(coverage, abs=0.01)


def test_a_pair_gives_itself_back_at_90_percent_and_grows_with_coverage():
    spread = Spread.of_pair(0.7, 1.45)
    assert spread.ends(0.9) == pytest.approx((0.7, 1.45))
    ends = [spread.ends(coverage) for coverage in (0.5, 0.7, 0.9, 0.99)]
    assert ends == sorted(ends, key=lambda pair: -pair[0])
    assert ends == sorted(ends, key=lambda pair: pair[1])


def test_a_range_holds_the_price_even_where_all_rows_lie_above_it():
    low, high = Spread.of_rows([0.2] * 30).ends(0.9)
    assert low == 1.0
    assert high == pytest.approx(math.exp(0.2))


@pytest.mark.parametrize("coverage", [0.4, 0.999, 90, float("nan")])
def test_coverages_that_are_no_share_are_refused(coverage):
    with pytest.raises(CoverageError, match="must be between"):
        Spread.of_pair(0.5, 2.0).ends(coverage)


def test_too_few_rows_and_quantiles_that_fall_are_refused():
    with pytest.raises(CoverageError, match="20 rows; got 19"):
        Spread.of_rows([0.0] * 19)
    with pytest.raises(ValueError, match="never fall"):
        Spread(tuple(-level for level in LEVELS))


def test_spreads_by_size_hold_where_launches_are_short_too() -> None:
    generator = np.random.default_rng(0)

    def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
        prices = generator.uniform(1, 100, count)
        return prices, generator.normal(0, np.where(prices < 30, 0.3, 0.03))

    sized = SizedSpread.of_rows(*rows(3000))
    prices, logs = rows(20_000)
    ends = np.log(sized.ends(0.9))[[sized.place(price) for price in prices]]
    inside = (logs >= ends[:, 0]) & (logs <= ends[:, 1])
    for low, high in ((1, 15), (35, 60), (60, 100)):
        chosen = (prices > low) & (prices <= high)
        assert 0.87 < inside[chosen].mean() < 0.93


def test_few_rows_or_equal_prices_share_one_spread() -> None:
    logs = np.linspace(-1, 1, 900).tolist()
    assert len(SizedSpread.of_rows([5.0] * 900, logs).spreads) == 1
    assert len(SizedSpread.of_rows(range(150), logs[:150]).spreads) == 1
    one = Spread.of_pair(0.5, 2.0)
    assert SizedSpread.of_one(one).place(1e9) == 0
    with pytest.raises(ValueError, match="one spread more than rising limits"):
        SizedSpread((2.0, 1.0), (one, one, one))
