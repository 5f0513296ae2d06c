"""A predicted quantity with its range."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A predicted value with the range that should hold it.

    Estimates of one unit add up. Ranges add end to end, as if all errors went the same way, so the
    range of a sum is never narrower than its parts allow.
    """

    value: float
    """The prediction, in `unit`."""
    low: float
    """Lower end of the range, in `unit`; at most `value`."""
    high: float
    """Upper end of the range, in `unit`; at least `value`."""
    unit: str = "ms"
    """What the three numbers count, such as `ms`."""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"an estimate needs low <= value <= high; got {self.low}, {self.value}, {self.high}"
            )

    def __add__(self, other: Estimate) -> Estimate:
        if self.unit != other.unit:
            raise ValueError(f"cannot add {other.unit} to {self.unit}: convert one of them first")
        return Estimate(
            value=self.value + other.value,
            low=self.low + other.low,
            high=self.high + other.high,
            unit=self.unit,
        )
