"""Rules of a parsed file to `Rule`s: every name looked up, every argument in its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from lark import Token, Tree

from searchspace.grammar import (
    Alternative,
    Arithmetic,
    Comparison,
    Domain,
    Drawn,
    Expression,
    GrammarError,
    Item,
    Literal,
    Repeat,
    Rule,
    Scalar,
    Variable,
)
from searchspace.primitives.base import Parameter, Primitive
from searchspace.syntax import Text, token, trees
from searchspace.tree import Value

CLASSES = "classes"
"""Word that stands for the size of the output."""
_HEAVIEST = 1_000_000
"""Largest weight of an alternative."""


@dataclass(kw_only=True)
class Resolver:
    """Turns parse trees of rules into rules, by the names that the file defines."""

    text: Text
    """For faults."""
    classes: int
    """Size of the output."""
    primitives: Mapping[str, Primitive]
    """What the terminals may be."""
    domains: Mapping[str, Domain]
    """Domains by name."""
    heads: Mapping[str, tuple[tuple[str, ...], Token]]
    """Parameters of each rule, and where its name stands."""
    used: set[str] = field(default_factory=set)
    """Names of the domains and rules that were looked up."""
    places: dict[Alternative | Item, Tree[Token]] = field(default_factory=dict)
    """Where each part stands in the file."""

    def fault(self, message: str, where: Token | Tree[Token]) -> GrammarError:
        """The fault at a place of the file."""
        return self.text.fault(message, where)

    def rule(self, tree: Tree[Token]) -> Rule:
        """The rule of a parse tree.

        Raises:
            GrammarError: it names what is not defined, or gives a wrong number of arguments.
        """
        name = str(tree.children[0])
        parameters = self.heads[name][0]
        is_block = any(isinstance(c, Token) and c.type == "IS_BLOCK" for c in tree.children)
        bodies = [t for t in trees(tree) if t.data == "alternative"]
        alternatives = tuple(self._alternative(body, parameters) for body in bodies)
        return Rule(name, parameters, is_block, alternatives)

    def _alternative(self, tree: Tree[Token], parameters: tuple[str, ...]) -> Alternative:
        parts = {str(part.data): part for part in trees(tree)}
        weight = 1.0
        if "weight" in parts:
            weight = float(token(parts["weight"].children[0]))
            if not 0 < weight <= _HEAVIEST:
                message = f"a weight must be above 0, and at most {_HEAVIEST}"
                raise self.fault(message, parts["weight"])
        drawn = self._drawn(parts["with"], parameters) if "with" in parts else ()
        # In the order of use, so that each is chosen when the shape that it meets is known.
        words = [str(t) for t in parts["items"].scan_values(lambda t: t in dict(drawn))]
        drawn = tuple(sorted(drawn, key=lambda d: words.index(d[0]) if d[0] in words else 999_999))
        scope = (*parameters, *(name for name, _ in drawn))
        where: tuple[Comparison, ...] = ()
        if "where" in parts:
            where = tuple(c for t in trees(parts["where"]) for c in self._comparison(t, scope))
        items = tuple(self._item(item, scope) for item in trees(parts["items"]))
        read = Alternative(weight, items, drawn, where)
        self.places[read] = parts.get("where", tree)
        return read

    def _drawn(
        self, tree: Tree[Token], parameters: tuple[str, ...]
    ) -> tuple[tuple[str, Domain], ...]:
        found: list[tuple[str, Domain]] = []
        for group in trees(tree):
            *names, domain = map(token, group.children)
            for name in names:
                if name in parameters or name in dict(found) or name in self.domains:
                    raise self.fault(f"'{name}' has a meaning here already", name)
                found.append((str(name), self._known_domain(domain)))
        return tuple(found)

    def _known_domain(self, name: Token) -> Domain:
        if name not in self.domains:
            raise self.fault(f"no domain '{name}'{_close(name, self.domains)}", name)
        self.used.add(str(name))
        return self.domains[str(name)]

    def _comparison(self, tree: Tree[Token], scope: tuple[str, ...]) -> list[Comparison]:
        parts = tree.children
        sides = [self._expression(part, scope) for part in parts[::2]]
        return [
            Comparison(left, str(operator), right)
            for left, operator, right in zip(
                sides[:-1], map(token, parts[1::2]), sides[1:], strict=True
            )
        ]

    def _expression(self, part: Token | Tree[Token], scope: tuple[str, ...]) -> Expression:
        if isinstance(part, Tree):
            left, operator, right = part.children
            return Arithmetic(
                str(operator), self._expression(left, scope), self._expression(right, scope)
            )
        if part.type == "INT":
            return Literal(int(part))
        if part in scope:
            return Variable(scope.index(str(part)), str(part))
        if part == CLASSES:
            return Literal(self.classes)
        if part in self.domains:
            raise self.fault(f"'{part}' is a domain: draw a variable from it by 'with' first", part)
        raise self.fault(f"no variable '{part}' here{_close(part, scope)}", part)

    def _item(self, tree: Tree[Token], scope: tuple[str, ...]) -> Item:
        call, *powers = trees(tree)
        item = self._call(call, scope)
        if powers:
            kind, count = powers[0].children
            repeat = Repeat(self._scalar(count, scope, None), token(kind) == "^^")
            item = Item(item.symbol, item.is_primitive, item.scalars, item.groups, repeat)
        self.places[item] = tree
        return item

    def _call(self, tree: Tree[Token], scope: tuple[str, ...]) -> Item:
        name = token(tree.children[0])
        if name in self.heads:
            parameters = self.heads[str(name)][0]
            self.used.add(str(name))
            found = self._arguments(name, trees(tree), tuple(map(_plain, parameters)), 0, scope)
            return Item(str(name), False, found[0])
        primitive = self.primitives.get(str(name))
        if primitive is None:
            known = (*self.heads, *self.primitives)
            raise self.fault(f"no rule or primitive '{name}'{_close(name, known)}", name)
        scalars, groups = self._arguments(
            name, trees(tree), primitive.parameters, primitive.groups, scope
        )
        return Item(str(name), True, scalars, groups)

    def _arguments(
        self,
        name: Token,
        given: list[Tree[Token]],
        parameters: tuple[Parameter, ...],
        groups: int,
        scope: tuple[str, ...],
    ) -> tuple[tuple[Scalar, ...], tuple[tuple[Item, ...], ...]]:
        wanted = len(parameters) + abs(groups)
        if len(given) < wanted or (groups >= 0 and len(given) > wanted):
            names = ", ".join((*(p.name for p in parameters), *["…"] * abs(groups)))
            least = "at least " if groups < 0 else ""
            form = f"{name}({names})" if names else str(name)
            plural = "" if wanted == 1 else "s"
            message = f"{form} takes {least}{wanted} argument{plural}; got {len(given)}"
            raise self.fault(message, name)
        scalars: list[Scalar] = []
        for parameter, tree in zip(parameters, given, strict=False):
            *keyword, value = tree.children
            if keyword and keyword[0] != parameter.name:
                raise self.fault(f"'{parameter.name}' comes here; got '{keyword[0]}'", tree)
            scalars.append(self._scalar(value, scope, parameter))
        sequences = []
        for tree in given[len(parameters) :]:
            body = tree.children[-1]
            if not isinstance(body, Tree) or body.data != "items" or len(tree.children) > 1:
                raise self.fault(f"{name} takes a sequence of rules and primitives here", tree)
            sequences.append(tuple(self._item(item, scope) for item in trees(body)))
            for item, where in zip(sequences[-1], trees(body), strict=True):
                if item.repeat is not None:
                    raise self.fault("repeat inside an argument by a rule of its own", where)
        return tuple(scalars), tuple(sequences)

    def _scalar(
        self, part: Token | Tree[Token], scope: tuple[str, ...], parameter: Parameter | None
    ) -> Scalar:
        where = part
        if isinstance(part, Tree) and part.data == "items":
            # A lone name reads as a sequence of one call; here it must be a value.
            calls = [call for item in trees(part) for call in trees(item)]
            if len(calls) != 1 or len(calls[0].children) != 1:
                raise self.fault("a single value comes here", part)
            part = where = token(calls[0].children[0])
        if isinstance(part, Token) and part.type == "NAME" and part not in scope:
            if part in self.domains:
                found: Scalar = Drawn(self._known_domain(part))
            elif parameter is not None and part in parameter.words:
                found = Literal(str(part))
            else:
                found = self._expression(part, scope)
        else:
            found = self._expression(part, scope)
        if parameter is not None:
            for value in self._possible(found):
                fault = parameter.fault(value)
                if fault:
                    raise self.fault(f"{fault}; got {value}", where)
        return found

    def _possible(self, scalar: Scalar) -> tuple[Value, ...]:
        """Values that can be told by the argument alone; `arguments` follows variables."""
        if isinstance(scalar, Literal):
            return (scalar.value,)
        return scalar.domain.values if isinstance(scalar, Drawn) else ()


def _plain(name: str) -> Parameter:
    return Parameter(name=name, free=True)


def _close(name: str, known: Iterable[str]) -> str:
    matches = get_close_matches(name, list(known), 1)
    return f"; did you mean '{matches[0]}'?" if matches else ""
