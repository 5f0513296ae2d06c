"""A search space as one JSON object (`docs/json.md`), and as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from searchspace.branching import branching_rate
from searchspace.grammar import Alternative, Drawn, Grammar, Item, Rule, Scalar
from searchspace.unparse import draws_text, head_text, items_text, where_text

FORMAT, VERSION = "nas-space", 1


def space_record(grammar: Grammar) -> dict[str, Any]:
    """What a space holds: its header, domains and rules."""
    rate, _ = branching_rate(grammar)
    return {
        "format": FORMAT,
        "version": VERSION,
        "space": grammar.name,
        "input": {"mode": grammar.input.mode, "shape": list(grammar.input.shape)},
        "classes": grammar.classes,
        "start": grammar.start,
        "limits": {name: most for name, most in asdict(grammar.limits).items() if most},
        "branching_rate": rate or None,
        "domains": [
            {"name": domain.name, "is": str(domain), "values": list(domain.values)}
            for domain in grammar.domains.values()
        ],
        "rules": [_rule(rule) for rule in grammar.rules.values()],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    total = sum(alternative.weight for alternative in rule.alternatives)
    return {
        "name": rule.name,
        "head": head_text(rule),
        "parameters": list(rule.parameters),
        "is_block": rule.is_block,
        "alternatives": [_alternative(a, a.weight / total) for a in rule.alternatives],
    }


def _alternative(alternative: Alternative, probability: float) -> dict[str, Any]:
    return {
        "probability": probability,
        "items": items_text(alternative.items),
        "with": draws_text(alternative),
        "where": where_text(alternative),
        "draws": [
            *(domain.name for _, domain in alternative.draws),
            *_drawn(alternative.items),
        ],
    }


def _drawn(items: Sequence[Item]) -> Iterator[str]:
    """Domains that values are drawn from where they stand, once for each place."""
    for item in items:
        counts: tuple[Scalar, ...] = (item.repeat.count,) if item.repeat else ()
        for scalar in (*item.scalars, *counts):
            if isinstance(scalar, Drawn):
                yield scalar.domain.name
        for group in item.groups:
            yield from _drawn(group)


def space_tables(record: Mapping[str, Any]) -> Iterator[Table]:
    """The header, the domains and the rules of a space's record."""
    yield _header(record)
    if record["domains"]:
        yield _domains(record)
    yield _rules(record)


def _header(record: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("space", Text(record["space"]))
    table.add_row("input", Text(f"{record['input']['mode']}{record['input']['shape']}"))
    table.add_row("classes", str(record["classes"]))
    blocks = sum(rule["is_block"] for rule in record["rules"])
    table.add_row("rules", f"{len(record['rules'])}, {blocks} of them blocks")
    for name, most in record["limits"].items():
        table.add_row(f"{name} at most", f"{most:,}")
    rate = record["branching_rate"]
    table.add_row("recursion", f"branches at a rate of {rate:.2f}" if rate else "none")
    return table


def _domains(record: Mapping[str, Any]) -> Table:
    table = _table("domain", "values", "number", title="Domains")
    table.columns[2].justify = "right"
    for domain in record["domains"]:
        table.add_row(domain["name"], Text(domain["is"]), str(len(domain["values"])))
    return table


def _rules(record: Mapping[str, Any]) -> Table:
    table = _table("rule", "block", "p", "alternative", title="Rules")
    table.columns[2].justify = "right"
    for rule in record["rules"]:
        alone = len(rule["alternatives"]) == 1
        for index, alternative in enumerate(rule["alternatives"]):
            first = index == 0
            table.add_row(
                Text(rule["head"] if first else "", style="bold"),
                "yes" if first and rule["is_block"] else "",
                "" if alone else f"{alternative['probability']:.1%}",
                _said(alternative),
            )
    return table


def _said(alternative: Mapping[str, Any]) -> Text:
    """Items, and below them, paler, what is drawn by name and what it must keep."""
    text = Text(alternative["items"])
    rest = " ".join(
        f"{word} {alternative[word]}" for word in ("with", "where") if alternative[word]
    )
    return text.append(f"\n{rest}", style="dim") if rest else text


def _table(*columns: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        narrow, most = name in ("block", "p", "number"), 28 if name == "rule" else None
        table.add_column(name, no_wrap=narrow, overflow="fold", max_width=most)
    return table
