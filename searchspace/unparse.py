"""Grammars back to text: what a rule says, for people, and a file that reads to an equal grammar.

Names that stood for a value are gone: `classes` reads as its number, a narrowed domain as what is
left of it, `a <= b, b <= c` as the chain that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from itertools import groupby

from searchspace.grammar import (
    Alternative,
    Arithmetic,
    Comparison,
    Drawn,
    Expression,
    Grammar,
    Item,
    Literal,
    Rule,
    Scalar,
)


def grammar_text(grammar: Grammar) -> str:
    """The text of a file that reads to an equal grammar."""
    lines = [f"{header_text(grammar)}\n"]
    limits = asdict(grammar.limits)
    lines += [f"limit {name} <= {most}" for name, most in limits.items() if most]
    lines += [f"domain {domain.name} = {domain}" for domain in grammar.domains.values()]
    lines += [f"\n{_rule_text(rule)}" for rule in grammar.rules.values()]
    return "\n".join(lines) + "\n"


def header_text(grammar: Grammar) -> str:
    """The first statement: name, input, output."""
    return f"space {grammar.name} : {grammar.input} -> classes[{grammar.classes}]"


def head_text(rule: Rule) -> str:
    """A rule's name and parameters."""
    return rule.name + (f"({', '.join(rule.parameters)})" if rule.parameters else "")


def items_text(items: Sequence[Item]) -> str:
    """Items in the order that data flow through them."""
    return " ".join(map(_item_text, items))


def draws_text(alternative: Alternative) -> str:
    """What stands after `with`; empty where nothing is drawn."""
    groups = groupby(alternative.draws, key=lambda draw: draw[1].name)
    return " ; ".join(f"{', '.join(name for name, _ in of)} : {domain}" for domain, of in groups)


def where_text(alternative: Alternative) -> str:
    """What stands after `where`; empty where nothing is asked."""
    text = ""
    before: Comparison | None = None
    for comparison in alternative.where:
        left, right = map(scalar_text, (comparison.left, comparison.right))
        chained = before is not None and before.right == comparison.left
        text += "" if chained else f"{', ' if text else ''}{left}"
        text += f" {comparison.operator} {right}"
        before = comparison
    return text


def scalar_text(scalar: Scalar | Expression) -> str:
    """A value, a variable, arithmetic, or the domain that is drawn from."""
    if isinstance(scalar, Arithmetic):
        # Without brackets: the parts of what was read bind as they are written.
        return f"{scalar_text(scalar.left)} {scalar.operator} {scalar_text(scalar.right)}"
    if isinstance(scalar, Drawn):
        return scalar.domain.name
    return str(scalar.value) if isinstance(scalar, Literal) else scalar.name


def _rule_text(rule: Rule) -> str:
    head = f"{head_text(rule)}{' is block' if rule.is_block else ''}"
    return f"{head} -> " + "\n    | ".join(map(_alternative_text, rule.alternatives))


def _alternative_text(alternative: Alternative) -> str:
    weight, draws, where = alternative.weight, draws_text(alternative), where_text(alternative)
    # A grammar's numbers have no exponent.
    parts = [f"{Decimal(str(weight)):f} :"] if weight != 1 else []
    parts.append(items_text(alternative.items))
    parts += [f"with {draws}"] if draws else []
    parts += [f"where {where}"] if where else []
    return " ".join(parts)


def _item_text(item: Item) -> str:
    arguments = [*map(scalar_text, item.scalars), *map(items_text, item.groups)]
    text = item.symbol + (f"({', '.join(arguments)})" if arguments else "")
    if item.repeat is None:
        return text
    return f"{text} {'^^' if item.repeat.same else '^'} {scalar_text(item.repeat.count)}"
