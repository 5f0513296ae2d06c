"""A grammar that is printed reads back to an equal grammar."""

from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from strategies import HEADER, SCHEMES, small_grammars

from searchspace.grammar import Grammar
from searchspace.read import read_grammar
from searchspace.space import load_space, space_names
from searchspace.unparse import draws_text, grammar_text, items_text, where_text


def structure(value: Any) -> Any:
    """All that a grammar says but for its own text, as plain tuples that compare by value."""
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.name != "text"]
        return type(value).__name__, *((name, structure(getattr(value, name))) for name in names)
    if isinstance(value, dict):
        return tuple((key, structure(inner)) for key, inner in value.items())
    return tuple(map(structure, value)) if isinstance(value, tuple) else value


def reads_back(grammar: Grammar) -> None:
    again = read_grammar(grammar_text(grammar), schemes=grammar.schemes)
    assert structure(again) == structure(grammar)


@pytest.mark.parametrize("name", space_names())
def test_shipped_grammars_read_back(name):
    reads_back(load_space(name))


def test_a_narrowed_grammar_reads_back():
    limits = {"width": (32, 64), "kernel": (5, 13)}
    reads_back(load_space("conv_large_kernel", classes=7, limits=limits, schemes=SCHEMES))


@settings(max_examples=50, deadline=None)
@given(small_grammars())
def test_small_grammars_read_back(grammar):
    reads_back(grammar)


def only_rule(body: str, *domains: str) -> Grammar:
    return read_grammar(HEADER + "".join(f"domain {d}\n" for d in domains) + f"net -> {body}\n")


@pytest.mark.parametrize(
    "body",
    [
        "0.0000001 : eca | 2.5 : shift | 3 : identity",
        "branch(multiply, eca shift, residual(eca), identity) eca ^ 0",
        "depthwise(a * 2 * b + 3 - b * 2) with a, b : k where a * b - 2 < 40, a <= b < 9, a != 7",
        "inverted(2, f) activation(act) plain(g) with f, g : act where f != g",
        "depthwise(k) ^ a depthwise(a) ^^ a eca ^ k with a : k",
    ],
)
def test_every_form_reads_back(body):
    domains = [d for d in ("k = 3 | 5 | 7", "act = gelu | relu") if d.split()[0] in body]
    reads_back(only_rule(body, *domains))


def test_parts_read_as_they_are_written():
    body = "depthwise(a) residual(eca shift) ^^ n with a, b : k ; n : n2 where a <= b < 9, n > 1"
    grammar = only_rule(body, "k = 3 | 5 | 7", "n2 = 1 .. 3")
    (alternative,) = grammar.rules["net"].alternatives
    assert items_text(alternative.items) == "depthwise(a) residual(eca shift) ^^ n"
    # Variables stand in the order in which the items use them.
    assert draws_text(alternative) == "a : k ; n : n2 ; b : k"
    assert where_text(alternative) == "a <= b < 9, n > 1"
