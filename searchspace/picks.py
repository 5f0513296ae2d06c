"""Trees by choices: the expansion of a grammar in which every choice is given.

What leaves no choice is not mentioned: a rule of which the arguments allow one alternative, without
draws, is entered by itself, and values that follow from others are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from searchspace import draws
from searchspace.architecture import Architecture
from searchspace.check import TreeError, check
from searchspace.grammar import Drawn, Grammar, Item, Scalar, evaluate
from searchspace.tree import PRIMITIVE, Node, Value


@dataclass(frozen=True, slots=True)
class Pick:
    """The choices of one expansion; make it by `pick`."""

    alternative: int
    """Index of the alternative, from 0."""
    parts: tuple[Part, ...]
    """The choices below, in the order of the file: a value for each draw that stands in the items,
    a `Pick` for each rule that leaves a choice, and for what repeats a list with one for each
    copy."""
    draws: Mapping[str, Value]
    """Values of the variables of `with`."""


Part = Value | Pick | Sequence[Pick]


def pick(alternative: int, /, *parts: Part, **draws: Value) -> Pick:
    """The choices of one expansion: see `Pick`."""
    return Pick(alternative, parts, draws)


def derive(grammar: Grammar, choices: Pick) -> Architecture:
    """The architecture that the choices lead to, from the grammar's first rule on.

    Blocks get the first precision scheme.

    Raises:
        TreeError: choices are missing or left over, or the grammar does not allow them.
    """
    root = _Derivation(grammar).rule(grammar.start, (), iter((choices,)))
    check(grammar, root)
    return Architecture(space=grammar.name, root=root)


class _Derivation:
    """Reads choices in the order in which the grammar asks for them."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar

    def rule(self, symbol: str, arguments: Sequence[Value], parts: Iterator[Part]) -> Node:
        only = self.only(symbol, arguments)
        if only is not None:
            return self.expansion(symbol, only, tuple(arguments), parts)
        choice, alternatives = next(parts, None), self.grammar.rules[symbol].alternatives
        if not isinstance(choice, Pick) or not 0 <= choice.alternative < len(alternatives):
            many = f"a pick from {len(alternatives)} alternatives"
            raise TreeError(f"'{symbol}' needs {many} here; got {choice}")
        names = [name for name, _ in alternatives[choice.alternative].draws]
        if set(names) != set(choice.draws):
            raise TreeError(
                f"alternative {choice.alternative} of '{symbol}' needs values of "
                f"{', '.join(names) or 'nothing'}; got {', '.join(choice.draws) or 'nothing'}"
            )
        scope = (*arguments, *(choice.draws[name] for name in names))
        own = iter(choice.parts)
        node = self.expansion(symbol, choice.alternative, scope, own)
        _used_up(symbol, own)
        return node

    def only(self, symbol: str, arguments: Sequence[Value]) -> int | None:
        """The alternative that a rule must take here, if it is one and draws nothing."""
        alternatives = self.grammar.rules[symbol].alternatives
        fits = [i for i, a in enumerate(alternatives) if draws.count(a, arguments)]
        return fits[0] if len(fits) == 1 and not alternatives[fits[0]].draws else None

    def expansion(
        self, symbol: str, index: int, scope: tuple[Value, ...], parts: Iterator[Part]
    ) -> Node:
        rule = self.grammar.rules[symbol]
        items = rule.alternatives[index].items
        children = tuple([self.group(item, scope, parts) for item in items])
        return Node(symbol, index, scope, children, self.grammar.schemes[0] * rule.is_block)

    def group(self, item: Item, scope: Sequence[Value], parts: Iterator[Part]) -> tuple[Node, ...]:
        if item.repeat is None:
            return (self.item(item, scope, parts),)
        copies = next(parts, None)
        if isinstance(copies, (Pick, int, str)) or copies is None:
            raise TreeError(f"'{item.symbol}' repeats: it needs a list of picks; got {copies}")
        return tuple([self.copy(item, scope, copy) for copy in copies])

    def copy(self, item: Item, scope: Sequence[Value], choice: Pick) -> Node:
        """One of an item's repeats; where that leaves no choice itself, those below are its own."""
        own: Iterator[Part] = iter(choice.parts)
        if not item.is_primitive and not any(isinstance(s, Drawn) for s in item.scalars):
            arguments = [evaluate(s, scope) for s in item.scalars if not isinstance(s, Drawn)]
            if self.only(item.symbol, arguments) is None:
                own = iter((choice,))
        node = self.item(item, scope, own)
        _used_up(item.symbol, own)
        return node

    def item(self, item: Item, scope: Sequence[Value], parts: Iterator[Part]) -> Node:
        values = tuple([self.value(item, scalar, scope, parts) for scalar in item.scalars])
        if not item.is_primitive:
            return self.rule(item.symbol, values, parts)
        bodies = tuple(
            [tuple([self.item(i, scope, parts) for i in sequence]) for sequence in item.groups]
        )
        return Node(item.symbol, PRIMITIVE, values, bodies)

    def value(
        self, item: Item, scalar: Scalar, scope: Sequence[Value], parts: Iterator[Part]
    ) -> Value:
        if not isinstance(scalar, Drawn):
            return evaluate(scalar, scope)
        value = next(parts, None)
        if not isinstance(value, (int, str)):
            raise TreeError(
                f"'{item.symbol}' draws from {scalar.domain.name} here: it needs a value; "
                f"got {value}"
            )
        return value


def _used_up(symbol: str, parts: Iterator[Part]) -> None:
    left = next(parts, None)
    if left is not None:
        raise TreeError(f"'{symbol}' has no use for {left}: it is one choice too many")
