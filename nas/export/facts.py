"""What is known about an architecture beside its tree: named figures, checked and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nas.export.errors import ExportError
from nas.quantities import format_bytes, format_count

Fact = int | float | str | bool | None
"""A value that JSON holds as it is."""
Facts = Mapping[str, Fact]
"""Values by name. Known to the texts are `score`, `latency_ms`, `low_ms`, `high_ms`, `target`,
`runtime`, `batch`, `precision`, `macs`, `params`, `peak_bytes` and `weight_bytes`; others are kept
and listed by name."""

_LATENCY = ("latency_ms", "low_ms", "high_ms", "target", "runtime", "batch", "precision")


def checked(facts: Facts) -> dict[str, Fact]:
    """The facts, if JSON can hold them.

    Raises:
        ExportError: a value is not a finite number, a text, a truth value or None.
    """
    for name, value in facts.items():
        number = isinstance(value, int | float)
        if not (value is None or isinstance(value, str) or (number and math.isfinite(value))):
            raise ExportError(
                f"fact '{name}' must be a finite number, a text, true, false or None; got {value!r}"
            )
    return dict(facts)


def described(facts: Facts) -> list[tuple[str, str]]:
    """The facts for people: what each is, and its value with unit."""
    known = {name: value for name, value in facts.items() if value is not None}
    rows = []
    for name, label, form in (
        ("params", "parameters", format_count),
        ("macs", "multiply-adds", format_count),
        ("peak_bytes", "peak memory", format_bytes),
        ("weight_bytes", "weights", format_bytes),
    ):
        if isinstance(known.get(name), int | float):
            rows.append((label, form(float(known.pop(name)))))
    if "latency_ms" in known:
        rows.append(("predicted latency", _latency(known)))
    for name, value in known.items():
        if name not in _LATENCY or "latency_ms" not in known:
            rows.append((name, f"{value:.6g}" if isinstance(value, float) else str(value)))
    return rows


def _latency(facts: Facts) -> str:
    text = f"{facts['latency_ms']:.4g} ms"
    if "low_ms" in facts and "high_ms" in facts:
        text += f", from {facts['low_ms']:.4g} to {facts['high_ms']:.4g} ms"
    if "target" in facts:
        text += f", on {facts['target']}"
    if "runtime" in facts:
        text += f" ({facts['runtime']})"
    if "batch" in facts:
        text += f", batch {facts['batch']}"
    return text + (f", {facts['precision']}" if "precision" in facts else "")
