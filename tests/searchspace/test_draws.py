import operator
from collections import Counter
from itertools import product
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from searchspace import draws
from searchspace.grammar import (
    Alternative,
    Arithmetic,
    Comparison,
    Domain,
    Literal,
    Variable,
)
from searchspace.space import load_space

_OPERATORS = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
    "==": operator.eq, "!=": operator.ne, "+": operator.add, "-": operator.sub, "*": operator.mul,
}  # fmt: skip
_NAMES = "abcde"


def _source(expression) -> str:
    """The expression as Python, which is the oracle."""
    if isinstance(expression, Literal):
        return str(expression.value)
    if isinstance(expression, Variable):
        return expression.name
    return f"({_source(expression.left)} {expression.operator} {_source(expression.right)})"


@st.composite
def _constrained(draw):
    """An alternative with 0 to 2 arguments and 1 to 3 variables, and the arguments."""
    arity = draw(st.integers(0, 2))
    count = draw(st.integers(1, 3))
    arguments = tuple(draw(st.integers(-2, 5)) for _ in range(arity))
    values = st.lists(st.integers(-2, 5), min_size=1, max_size=5, unique=True)
    domains = [Domain(f"d{i}", tuple(draw(values))) for i in range(count)]
    variables = [Variable(i, _NAMES[i]) for i in range(arity + count)]
    leaf = st.sampled_from(variables) | st.integers(0, 5).map(Literal)
    expression = leaf | st.builds(Arithmetic, st.sampled_from("+-*"), leaf, leaf)
    comparison = st.builds(
        Comparison, expression, st.sampled_from(("<=", ">=", "<", ">", "==", "!=")), expression
    )
    where = tuple(draw(st.lists(comparison, max_size=4)))
    drawn = tuple((_NAMES[arity + i], domain) for i, domain in enumerate(domains))
    return Alternative(1.0, (), drawn, where), arguments


def _brute_force(alternative, arguments):
    """Every assignment that keeps the constraints, by trying all."""
    source = " and ".join(
        f"({_source(c.left)} {c.operator} {_source(c.right)})" for c in alternative.where
    )
    return [
        (*arguments, *values)
        for values in product(*(domain.values for _, domain in alternative.draws))
        if eval(source or "True", {}, dict(zip(_NAMES, (*arguments, *values), strict=False)))
    ]


@given(_constrained())
@settings(max_examples=80)
def test_counts_are_those_of_trying_all(case):
    alternative, arguments = case
    assert draws.count(alternative, arguments) == len(_brute_force(alternative, arguments))


@given(_constrained(), st.integers(0, 100))
@settings(max_examples=40)
def test_draws_keep_the_constraints_and_others_are_all_that_do(case, seed):
    alternative, arguments = case
    allowed = _brute_force(alternative, arguments)
    if not allowed:
        with pytest.raises(ValueError, match="keep the constraints"):
            draws.draw(alternative, arguments, Random(seed))
        return
    scope = draws.draw(alternative, arguments, Random(seed))
    assert scope in allowed
    for index in range(len(alternative.draws)):
        place = len(arguments) + index
        found = draws.others(alternative, scope, len(arguments), index)
        expected = {
            other[place]
            for other in allowed
            if other != scope
            and other[:place] + other[place + 1 :] == scope[:place] + scope[place + 1 :]
        }
        assert set(found) == expected
        assert len(found) == len(expected)


@given(_constrained())
@settings(max_examples=15)
def test_draws_are_uniform(case):
    alternative, arguments = case
    allowed = _brute_force(alternative, arguments)
    assume(2 <= len(allowed) <= 40)
    random = Random(20)
    found = Counter(draws.draw(alternative, arguments, random) for _ in range(60 * len(allowed)))
    assert set(found) <= set(allowed)
    assert chisquare([found[values] for values in allowed]).pvalue > 1e-4


def test_the_shipped_widths_rise_and_all_chains_are_equally_likely():
    # Rising chains of 4 out of n widths: n + 3 over 4; and 3 strides.
    alternative = load_space("conv_large_kernel").rules["network"].alternatives[0]
    assert draws.count(alternative, ()) == 3 * (66 * 65 * 64 * 63) // 24
    random = Random(4)
    first = [draws.draw(alternative, (), random)[0] for _ in range(3000)]
    # The smallest width is w with probability C(n - i + 2, 3) / C(n + 3, 4), i its index.
    n = 63
    chances = [(n - i + 2) * (n - i + 1) * (n - i) / 6 for i in range(n)]
    total = sum(chances)
    groups = [(0, 4), (4, 9), (9, 15), (15, 25), (25, 63)]
    observed = [sum(a <= (width - 32) // 16 < b for width in first) for a, b in groups]
    expected = [3000 * sum(chances[a:b]) / total for a, b in groups]
    assert chisquare(observed, expected).pvalue > 1e-4


def test_without_variables_the_count_tells_whether_the_arguments_are_allowed():
    limit = Comparison(Variable(0, "a"), "<", Literal(3))
    alternative = Alternative(1.0, (), (), (limit,))
    assert [draws.count(alternative, (a,)) for a in (2, 3)] == [1, 0]
    assert draws.draw(alternative, (2,), Random(0)) == (2,)


@pytest.mark.parametrize("symbol", ["<=", ">=", "<", ">", "==", "!="])
def test_every_comparison_means_what_it_says(symbol):
    for a, b in product(range(3), repeat=2):
        comparison = Comparison(Variable(0, "a"), symbol, Variable(1, "b"))
        assert comparison.holds((a, b)) == _OPERATORS[symbol](a, b)
