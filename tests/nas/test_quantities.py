"""Quantities as people type and read them."""

import math
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.quantities import (
    format_bytes,
    format_count,
    parse_bound,
    parse_bytes,
    parse_count,
    parse_limit,
    parse_time_ms,
)

_SECONDS = {"s": Fraction(1), "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6)}
_SECONDS |= {"µs": Fraction(1, 10**6), "ns": Fraction(1, 10**9)}


@given(
    st.decimals(min_value="0.001", max_value="9999", places=3),
    st.sampled_from(sorted(_SECONDS)),
    st.sampled_from(("", " ")),
)
def test_times_are_exact_in_every_unit(number, unit, space):
    wanted = Fraction(number) * _SECONDS[unit] * 1000
    assert parse_time_ms(f" {number}{space}{unit} ") == pytest.approx(float(wanted), rel=1e-15)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("5ms", 5), ("800us", 0.8), ("0.005s", 5), (".5ms", 0.5), ("1e-3s", 1)],
)
def test_times_by_hand(text, milliseconds):
    assert parse_time_ms(text) == pytest.approx(milliseconds, rel=1e-15)


@pytest.mark.parametrize(
    "text", ["5", "", "ms", "5 m", "5 MS", "five ms", "5ms ms", "1,5ms", "+5ms"]
)
def test_a_time_needs_a_number_and_a_known_unit(text):
    with pytest.raises(
        ValueError, match=f"number and a unit, such as 5ms; got '{re.escape(text)}'"
    ):
        parse_time_ms(text)


@pytest.mark.parametrize("text", ["0ms", "0.0s", "1e999s"])
def test_a_time_is_above_zero_and_finite(text):
    with pytest.raises(ValueError, match="must be above zero"):
        parse_time_ms(text)


@pytest.mark.parametrize("text", ["-1ms", "nan ms", "nanms", "inf s", "infms"])
def test_a_time_is_a_positive_number(text):
    with pytest.raises(ValueError, match="a time needs a positive number"):
        parse_time_ms(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("11.7M", 11_700_000), ("1.82G", 1_820_000_000), ("3k", 3000), ("2T", 2 * 10**12)],
)
def test_counts_by_hand(text, count):
    assert parse_count(text) == parse_bound(text) == count


@pytest.mark.parametrize("text", ["0", "0.5", "-3", "", "K", "1X", "nan", "1e999", "11,7M", "1MB"])
def test_what_is_no_count(text):
    with pytest.raises(ValueError, match="a count"):
        parse_count(text)


@pytest.mark.parametrize("text", ["none", "None", " NONE "])
def test_no_bound(text):
    assert parse_bound(text) is None


def test_limits():
    assert parse_limit(" width=32..96 ") == ("width", (32, 96))
    for text in (
        "width",
        "width=32",
        "width=32..",
        "width=-1..3",
        "1x=1..2",
        "w=1...2",
        "w = 1..2",
    ):
        with pytest.raises(ValueError, match=r"NAME=LOW\.\.HIGH"):
            parse_limit(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20MB", 20_000_000),
        ("20MiB", 20 * 2**20),
        ("1.5 kB", 1500),
        ("1.5KB", 1500),
        ("3GiB", 3 * 2**30),
        ("7B", 7),
    ],
)
def test_sizes_count_in_thousands_or_in_powers_of_two(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "20", "20M", "20mb", "-1MB", "many MB"])
def test_a_size_needs_a_number_and_a_known_unit(text):
    with pytest.raises(ValueError, match=f"such as 20MB or 20MiB; got '{re.escape(text)}'"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["0MB", "0.2B", "1e999GB"])
def test_a_size_is_a_byte_at_least_and_finite(text):
    with pytest.raises(ValueError, match="at least 1 byte"):
        parse_bytes(text)


@given(st.integers(0, 999 * 10**12))
def test_a_written_count_reads_back_within_half_of_its_last_digit(count):
    text = format_count(count)
    assert re.fullmatch(r"\d{1,3}(\.\d{1,2})?[KMGT]?", text), text
    back = parse_count(text) if text != "0" else 0
    assert math.isclose(back, count, rel_tol=0.0051)


@given(st.integers(0, 1023 * 2**40))
def test_written_bytes_read_back_within_half_of_their_last_digit(size):
    text = format_bytes(size)
    match = re.fullmatch(r"(\d{1,4}(?:\.\d{1,2})?)([KMGT]iB|B)", text)
    assert match, text
    power = {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[match.group(2)]
    assert math.isclose(float(match.group(1)) * 2**power, size, rel_tol=0.0051)
    assert float(match.group(1)) < 1024


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (999.6, "1K"), (999_999, "1M"), (4_212_345, "4.21M"), (1e12, "1T")],
)
def test_counts_for_people(value, text):
    assert format_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0B"), (1023, "1023B"), (1023 * 1024, "1023KiB"), (2**20 - 1, "1MiB"), (2**40, "1TiB")],
)
def test_bytes_for_people(value, text):
    assert format_bytes(value) == text
