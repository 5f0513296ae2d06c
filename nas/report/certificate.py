"""What a solver proved, as JSON and in words. Documented in `docs/json.md`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nas.quantities import format_bytes, format_count
from searchspace.architecture import Architecture
from searchspace.text import from_text

if TYPE_CHECKING:
    from nas.solver.design import Certificate

Form = Callable[[Architecture], Mapping[str, Any]]
"""What a tree looks like: see `nas.report.form`."""
NAMES = {
    "high_ms": "latency",
    "params": "parameters",
    "macs": "multiply-adds",
    "weight_bytes": "weights",
    "peak_bytes": "peak memory",
}
"""Of the bounded quantities, for people."""
_SIZES = ("weight_bytes", "peak_bytes")
_STEP = 0.25
"""Part of a limit that a step may be at most, for which a shadow price is told."""


def certificate(proof: Certificate, form: Form) -> dict[str, Any]:
    """The certificate as it stands in a run's result.

    Args:
        proof: what was proven.
        form: describes the designs that are ranked and those of the front.
    """
    record = proof.to_json()
    for name in ("format", "version", "designs"):
        del record[name]
    record["ranked"] = [_with_form(row, form) for row in record["ranked"]]
    if record["front"] is None:
        del record["front"]
    else:
        points = [_with_form(row, form) for row in record["front"]["points"]]
        record["front"] = {**record["front"], "points": points}
    return record


def _with_form(row: Mapping[str, Any], form: Form) -> dict[str, Any]:
    if row["architecture"] is None:
        return dict(row)
    root = from_text(row["architecture"])
    return {**row, **form(Architecture(space=root.symbol, root=root))}


def certificate_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """What is proven, and what a little more of each bound would be worth."""
    yield (
        f"solved by {record['solver']} in {record['seconds']:.0f} s: score {record['score']:,.1f}, "
        f"proven to be at most {record['bound']:,.1f}, gap {record['gap']:.2%}"
    )
    if not record["optimal"]:
        yield "the gap asked for was not reached in time: raise --solve-seconds to close it further"
    yield (
        f"the proof is about {record['values']} values of each variable of the space's first rule "
        f"and {record['modes']} kinds of blocks for each of its items, at most; the space has more"
    )
    for fault in record["left_out"]:
        yield f"not part of the proof: {fault}"
    for use in record["uses"]:
        name = NAMES.get(use["name"], use["name"])
        used, limit = (amount(use["name"], use[key]) for key in ("used", "limit"))
        yield f"{name}: {used} of {limit}{_worth(use)}"


def amount(name: str, value: float) -> str:
    """So much of a quantity, with its unit."""
    if name == "high_ms":
        return f"{value:.4g} ms" if value >= 0.1 else f"{1e3 * value:.4g} us"
    if name == "effectiveness":
        return f"{value:.3g}"
    return format_bytes(value) if name in _SIZES else format_count(value)


def _worth(use: Mapping[str, Any]) -> str:
    """What a step more of a quantity is worth, in words; nothing where no price is known."""
    name, price = use["name"], use["price"]
    if price is None:
        return ""
    if not price > 0:
        return "; more of it is worth nothing"
    base = 2.0 if name in _SIZES else 10.0
    step = base ** math.floor(math.log(_STEP * use["limit"], base))
    what = amount(name, step)
    if name in NAMES and name != "high_ms":
        what += f" {NAMES[name]}"
    return f"; {what} more is worth about {step * price:,.4g} points of score"
