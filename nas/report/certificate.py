"""What a solver proved, as JSON and in words. Documented in `docs/json.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.solver.design import Certificate

_UNITS = {"params": (1e6, "million parameters"), "macs": (1e9, "G multiply-adds")}


def certificate(proof: Certificate) -> dict[str, Any]:
    """The certificate as it stands in a run's result."""
    record = proof.to_json()
    for name in ("format", "version", "designs"):
        del record[name]
    return record


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
        unit, name = _UNITS.get(use["name"], (1.0, use["unit"] or use["name"]))
        used, limit, price = use["used"] / unit, use["limit"] / unit, use["price"] * unit
        worth = (
            f"one more is worth about {price:,.4g}" if price > 0 else "more of it is worth nothing"
        )
        yield f"{name}: {used:,.4g} of {limit:,.4g}; {worth}"
