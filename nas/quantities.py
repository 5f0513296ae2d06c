"""Quantities with units, as people type them: `5ms`, `11.7M`, `20MB`, `width=32..96`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_TIME_MS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "ns": 1e-6}
_COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BYTES = {"B": 1.0}
_BYTES |= {f"{prefix}B": 1e3**i for i, prefix in enumerate("kMGT", start=1)} | {"KB": 1e3}
_BYTES |= {f"{prefix}iB": 1024.0**i for i, prefix in enumerate("KMGT", start=1)}
_NUMBER = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ]*)")


def parse_time_ms(text: str) -> float:
    """Milliseconds of a time such as `5ms`, `800us` or `0.005s`.

    Raises:
        ValueError: no unit, an unknown one, or a time that is not positive and finite.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match.group(2) not in _TIME_MS:
        raise ValueError(f"a time needs a positive number and a unit, such as 5ms; got '{text}'")
    value = float(match.group(1)) * _TIME_MS[match.group(2)]
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"a time must be above zero; got '{text}'")
    return value


def parse_count(text: str) -> int:
    """A count such as `11700000`, `11.7M` or `1.82G`.

    Raises:
        ValueError: not a number with one of the suffixes K, M, G, T, or below 1.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match.group(2) not in _COUNT:
        raise ValueError(f"a count is a number, perhaps with K, M, G or T; got '{text}'")
    value = float(match.group(1)) * _COUNT[match.group(2)]
    if not (value >= 1 and math.isfinite(value)):
        raise ValueError(f"a count must be at least 1; got '{text}'")
    return round(value)


def parse_bound(text: str) -> int | None:
    """A count, or None for `none`.

    Raises:
        ValueError: as `parse_count`.
    """
    return None if text.strip().lower() == "none" else parse_count(text)


def parse_bytes(text: str) -> int:
    """Bytes such as `20MB` (powers of 1000) or `20MiB` (powers of 1024).

    Raises:
        ValueError: not a number with one of these units, or below 1.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match.group(2) not in _BYTES:
        raise ValueError(f"a size is a number with a unit, such as 20MB or 20MiB; got '{text}'")
    value = float(match.group(1)) * _BYTES[match.group(2)]
    if not (value >= 1 and math.isfinite(value)):
        raise ValueError(f"a size must be at least 1 byte; got '{text}'")
    return round(value)


def parse_limit(text: str) -> tuple[str, tuple[int, int]]:
    """A domain and the range it is narrowed to, such as `width=32..96`.

    Raises:
        ValueError: not of the form NAME=LOW..HIGH.
    """
    match = re.fullmatch(r"([A-Za-z_]\w*)=(\d+)\.\.(\d+)", text.strip())
    if match is None:
        raise ValueError(f"a limit is NAME=LOW..HIGH, such as width=32..96; got '{text}'")
    return match.group(1), (int(match.group(2)), int(match.group(3)))


def format_count(value: float) -> str:
    """A count for people: three digits and a suffix, such as `4.21M`."""
    return _scaled(value, 1e3, ("", "K", "M", "G", "T"))


def format_bytes(value: float) -> str:
    """Bytes for people, in powers of 1024, such as `3.06MiB`."""
    return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def _scaled(value: float, step: float, suffixes: Sequence[str]) -> str:
    """Three digits, or the whole number where it has four, with the first suffix that fits."""
    for suffix in suffixes[:-1]:
        # What would be rounded up to a whole step takes the next suffix.
        if round(abs(value)) < step:
            return f"{_digits(value)}{suffix}"
        value /= step
    return f"{_digits(value)}{suffixes[-1]}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
