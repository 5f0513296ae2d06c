"""Grammar text to `Grammar`: parsed by Lark, resolved, and checked once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches

from lark import Token, Tree

from searchspace.arguments import first_fault
from searchspace.grammar import (
    Alternative,
    Arithmetic,
    Comparison,
    Domain,
    Drawn,
    Expression,
    Grammar,
    GrammarError,
    Item,
    LimitError,
    Literal,
    Repeat,
    Rule,
    Scalar,
    Variable,
)
from searchspace.primitives import PRIMITIVES
from searchspace.primitives.base import Parameter, Primitive
from searchspace.sample import DEEPEST
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.syntax import parse
from searchspace.tree import FLOAT, Value
from searchspace.wellformed import ENDLESS, heights, on_cycle, reachable

_CLASSES = "classes"
_MODES = {"image": "image", "tokens": "tokens"}
_DIGITS = 9
"""Longest integer, in digits."""
_HEAVIEST = 1_000_000
"""Largest weight of an alternative."""
_LONGEST_RANGE = 100_000
"""Most values of one domain."""
_LETTERS = 100
"""Longest name or number, in characters."""
_NESTED = 150
"""Deepest parse tree: about forty calls inside each other."""
_SCHEME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Limits = Mapping[str, tuple[int, int]]
"""Domains to narrow: smallest and largest value kept, by the domain's name."""


def read_grammar(
    text: str,
    *,
    source: str = "grammar",
    classes: int | None = None,
    limits: Limits | None = None,
    schemes: tuple[str, ...] = (FLOAT,),
    primitives: Mapping[str, Primitive] = PRIMITIVES,
) -> Grammar:
    """Read a space from its text.

    Args:
        text: the file's contents; `docs/grammar.md` describes the form.
        source: the file's name, for messages.
        classes: size of the output, instead of the one that the file states.
        limits: domains to narrow, so that the trees are a part of the space.
        schemes: precision schemes that every block may take.
        primitives: what the terminals may be.

    Raises:
        GrammarError: with line, column, the line itself and a caret.
        LimitError: a limit names no domain of integers, or leaves it empty; `classes` is below 1.
        ValueError: `schemes` is empty, or holds what is no name.
    """
    if classes is not None and classes < 1:
        raise LimitError(f"the number of classes must be at least 1; got {classes}")
    if not schemes or not all(map(_SCHEME.fullmatch, schemes)):
        raise ValueError(f"precision schemes must be one name or more; got {list(schemes)}")
    tree = parse(text, source)
    return _Reader(text, source, classes, limits or {}, schemes, primitives).grammar(tree)


class _Reader:
    """Resolves one parsed file."""

    def __init__(
        self,
        text: str,
        source: str,
        classes: int | None,
        limits: Limits,
        schemes: tuple[str, ...],
        primitives: Mapping[str, Primitive],
    ) -> None:
        self.text, self.source, self.limits = text, source, limits
        self.classes, self.schemes, self.primitives = classes, schemes, primitives
        self.domains: dict[str, Domain] = {}
        self.heads: dict[str, tuple[tuple[str, ...], Token]] = {}
        self.used: set[str] = set()
        self.places: dict[Alternative | Item, Tree[Token]] = {}

    def fault(self, message: str, where: Token | Tree[Token]) -> GrammarError:
        line = where.line if isinstance(where, Token) else where.meta.line
        column = where.column if isinstance(where, Token) else where.meta.column
        return GrammarError(
            message, source=self.source, line=line or 1, column=column or 1, text=self.text
        )

    def grammar(self, tree: Tree[Token]) -> Grammar:
        self.small(tree)
        header, *statements = _trees(tree)
        name, spec, classes = self.header(header)
        self.classes = self.classes or classes
        domains = [s for s in statements if s.data == "domain"]
        rules = [s for s in statements if s.data == "rule"]
        for domain in domains:
            self.domain(domain)
        self.narrow()
        for rule in rules:
            self.head(rule)
        if not rules:
            raise self.fault("a space needs a rule after its first line", header)
        read = {str(rule.children[0]): self.rule(rule) for rule in rules}
        start = str(rules[0].children[0])
        lowest = self.check(statements, read, start)
        return Grammar(
            name=name,
            input=spec,
            classes=self.classes,
            domains=self.domains,
            rules={name: replace(rule, heights=lowest[name]) for name, rule in read.items()},
            start=start,
            schemes=self.schemes,
            text=self.text,
        )

    def small(self, tree: Tree[Token]) -> None:
        """Raise where integers are too long, or calls nested too deep, for what comes next."""
        waiting: list[tuple[Token | Tree[Token], int]] = [(tree, 0)]
        while waiting:
            part, depth = waiting.pop()
            if isinstance(part, Tree):
                if depth > _NESTED:
                    raise self.fault("this nests too deep: give the inner part a rule", part)
                waiting.extend((child, depth + 1) for child in part.children)
            elif len(part) > _LETTERS:
                raise self.fault(f"a name has at most {_LETTERS} letters", part)
            elif part.type == "INT" and len(part) > _DIGITS:
                raise self.fault(f"an integer has at most {_DIGITS} digits", part)

    def header(self, tree: Tree[Token]) -> tuple[str, TensorSpec, int]:
        name = _token(tree.children[0])
        spec, output = _trees(tree)
        mode, *sizes = map(_token, spec.children)
        if mode not in _MODES:
            raise self.fault("the input must be image[C, H, W] or tokens[N, D]", mode)
        kind, classes = map(_token, output.children)
        if kind != _CLASSES:
            raise self.fault("the output must be classes[N]", kind)
        try:
            shape = TensorSpec("image" if mode == "image" else "tokens", tuple(map(int, sizes)))
        except ShapeError as fault:
            raise self.fault(str(fault), mode) from None
        if int(classes) < 1:
            raise self.fault("the output needs at least 1 class", classes)
        return str(name), shape, int(classes)

    def domain(self, tree: Tree[Token]) -> None:
        name, body = _token(tree.children[0]), _trees(tree)[0]
        if name in self.domains or name == _CLASSES:
            raise self.fault(f"domain '{name}' is defined already", name)
        words = [_token(child) for child in body.children]
        values: tuple[Value, ...]
        if body.data == "range":
            first, last, step = int(words[0]), int(words[1]), int(words[2]) if words[2:] else 1
            if step < 1 or last < first:
                raise self.fault(f"the range of '{name}' is empty: first <= last, step >= 1", name)
            if (last - first) // step >= _LONGEST_RANGE:
                raise self.fault(f"a domain has at most {_LONGEST_RANGE} values", name)
            values = tuple(range(first, last + 1, step))
        else:
            values = tuple(int(w) if w.type == "INT" else str(w) for w in words)
            if len(set(values)) < len(values):
                raise self.fault(f"domain '{name}' lists a value twice", name)
            if len({type(value) for value in values}) > 1:
                raise self.fault(f"domain '{name}' mixes integers and words", name)
        self.domains[str(name)] = Domain(str(name), values)

    def narrow(self) -> None:
        for name, (low, high) in self.limits.items():
            domain = self.domains.get(name)
            if domain is None:
                raise LimitError(f"no domain '{name}' to limit; there are {_listed(self.domains)}")
            kept = tuple(v for v in domain.values if isinstance(v, int) and low <= v <= high)
            if not kept:
                raise LimitError(f"no value of domain '{name}' ({domain}) lies in {low}..{high}")
            self.domains[name] = Domain(name, kept)

    def head(self, tree: Tree[Token]) -> None:
        name = _token(tree.children[0])
        if name in self.heads:
            raise self.fault(f"rule '{name}' is defined already", name)
        if name in self.primitives:
            raise self.fault(f"'{name}' is a primitive; give the rule another name", name)
        found = [t for t in _trees(tree) if t.data == "parameters"]
        parameters = tuple(str(p) for p in found[0].children) if found else ()
        if len(set(parameters)) < len(parameters):
            raise self.fault(f"rule '{name}' has two parameters of one name", name)
        self.heads[str(name)] = (parameters, name)

    def rule(self, tree: Tree[Token]) -> Rule:
        name = str(tree.children[0])
        parameters = self.heads[name][0]
        is_block = any(isinstance(c, Token) and c.type == "IS_BLOCK" for c in tree.children)
        bodies = [t for t in _trees(tree) if t.data == "alternative"]
        alternatives = tuple(self.alternative(body, parameters) for body in bodies)
        return Rule(name, parameters, is_block, alternatives, ())

    def alternative(self, tree: Tree[Token], parameters: tuple[str, ...]) -> Alternative:
        parts = {str(part.data): part for part in _trees(tree)}
        weight = 1.0
        if "weight" in parts:
            weight = float(_token(parts["weight"].children[0]))
            if not 0 < weight <= _HEAVIEST:
                message = f"a weight must be above 0, and at most {_HEAVIEST}"
                raise self.fault(message, parts["weight"])
        drawn = self.drawn(parts["with"], parameters) if "with" in parts else ()
        scope = (*parameters, *(name for name, _ in drawn))
        where: tuple[Comparison, ...] = ()
        if "where" in parts:
            where = tuple(c for t in _trees(parts["where"]) for c in self.comparison(t, scope))
        items = tuple(self.item(item, scope) for item in _trees(parts["items"]))
        read = Alternative(weight, items, drawn, where)
        self.places[read] = parts.get("where", tree)
        return read

    def drawn(
        self, tree: Tree[Token], parameters: tuple[str, ...]
    ) -> tuple[tuple[str, Domain], ...]:
        found: list[tuple[str, Domain]] = []
        for group in _trees(tree):
            *names, domain = map(_token, group.children)
            for name in names:
                if name in parameters or name in dict(found) or name in self.domains:
                    raise self.fault(f"'{name}' has a meaning here already", name)
                found.append((str(name), self.known_domain(domain)))
        return tuple(found)

    def known_domain(self, name: Token) -> Domain:
        if name not in self.domains:
            raise self.fault(f"no domain '{name}'{_close(name, self.domains)}", name)
        self.used.add(str(name))
        return self.domains[str(name)]

    def comparison(self, tree: Tree[Token], scope: tuple[str, ...]) -> list[Comparison]:
        parts = tree.children
        sides = [self.expression(part, scope) for part in parts[::2]]
        return [
            Comparison(left, str(operator), right)
            for left, operator, right in zip(
                sides[:-1], map(_token, parts[1::2]), sides[1:], strict=True
            )
        ]

    def expression(self, part: Token | Tree[Token], scope: tuple[str, ...]) -> Expression:
        if isinstance(part, Tree):
            left, operator, right = part.children
            return Arithmetic(
                str(operator), self.expression(left, scope), self.expression(right, scope)
            )
        if part.type == "INT":
            return Literal(int(part))
        if part in scope:
            return Variable(scope.index(str(part)), str(part))
        if part == _CLASSES:
            assert self.classes is not None
            return Literal(self.classes)
        if part in self.domains:
            raise self.fault(f"'{part}' is a domain: draw a variable from it by 'with' first", part)
        raise self.fault(f"no variable '{part}' here{_close(part, scope)}", part)

    def item(self, tree: Tree[Token], scope: tuple[str, ...]) -> Item:
        call, *powers = _trees(tree)
        item = self.call(call, scope)
        if powers:
            kind, count = powers[0].children
            repeat = Repeat(self.scalar(count, scope, None), _token(kind) == "^^")
            item = Item(item.symbol, item.is_primitive, item.scalars, item.groups, repeat)
        self.places[item] = tree
        return item

    def call(self, tree: Tree[Token], scope: tuple[str, ...]) -> Item:
        name = _token(tree.children[0])
        if name in self.heads:
            parameters = self.heads[str(name)][0]
            self.used.add(str(name))
            found = self.arguments(name, _trees(tree), tuple(map(_plain, parameters)), 0, scope)
            return Item(str(name), False, found[0])
        primitive = self.primitives.get(str(name))
        if primitive is None:
            known = (*self.heads, *self.primitives)
            raise self.fault(f"no rule or primitive '{name}'{_close(name, known)}", name)
        scalars, groups = self.arguments(
            name, _trees(tree), primitive.parameters, primitive.groups, scope
        )
        return Item(str(name), True, scalars, groups)

    def arguments(
        self,
        name: Token,
        trees: list[Tree[Token]],
        parameters: tuple[Parameter, ...],
        groups: int,
        scope: tuple[str, ...],
    ) -> tuple[tuple[Scalar, ...], tuple[tuple[Item, ...], ...]]:
        wanted = len(parameters) + abs(groups)
        if len(trees) < wanted or (groups >= 0 and len(trees) > wanted):
            names = ", ".join((*(p.name for p in parameters), *["…"] * abs(groups)))
            least = "at least " if groups < 0 else ""
            form = f"{name}({names})" if names else str(name)
            plural = "" if wanted == 1 else "s"
            message = f"{form} takes {least}{wanted} argument{plural}; got {len(trees)}"
            raise self.fault(message, name)
        scalars: list[Scalar] = []
        for parameter, tree in zip(parameters, trees, strict=False):
            *keyword, value = tree.children
            if keyword and keyword[0] != parameter.name:
                raise self.fault(f"'{parameter.name}' comes here; got '{keyword[0]}'", tree)
            scalars.append(self.scalar(value, scope, parameter))
        sequences = []
        for tree in trees[len(parameters) :]:
            body = tree.children[-1]
            if not isinstance(body, Tree) or body.data != "items" or len(tree.children) > 1:
                raise self.fault(f"{name} takes a sequence of rules and primitives here", tree)
            sequences.append(tuple(self.item(item, scope) for item in _trees(body)))
            for item, where in zip(sequences[-1], _trees(body), strict=True):
                if item.repeat is not None:
                    raise self.fault("repeat inside an argument by a rule of its own", where)
        return tuple(scalars), tuple(sequences)

    def scalar(
        self, part: Token | Tree[Token], scope: tuple[str, ...], parameter: Parameter | None
    ) -> Scalar:
        where = part
        if isinstance(part, Tree) and part.data == "items":
            # A lone name reads as a sequence of one call; here it must be a value.
            calls = [call for item in _trees(part) for call in _trees(item)]
            if len(calls) != 1 or len(calls[0].children) != 1:
                raise self.fault("a single value comes here", part)
            part = where = _token(calls[0].children[0])
        if isinstance(part, Token) and part.type == "NAME" and part not in scope:
            if part in self.domains:
                found: Scalar = Drawn(self.known_domain(part))
            elif parameter is not None and part in parameter.words:
                found = Literal(str(part))
            else:
                found = self.expression(part, scope)
        else:
            found = self.expression(part, scope)
        if parameter is not None:
            for value in self.possible(found):
                fault = parameter.fault(value)
                if fault:
                    raise self.fault(f"{fault}; got {value}", where)
        return found

    def possible(self, scalar: Scalar) -> tuple[Value, ...]:
        """Values that can be told by the argument alone; `arguments` follows variables."""
        if isinstance(scalar, Literal):
            return (scalar.value,)
        return scalar.domain.values if isinstance(scalar, Drawn) else ()

    def check(
        self, statements: list[Tree[Token]], rules: Mapping[str, Rule], start: str
    ) -> dict[str, tuple[int, ...]]:
        """Raise at the first part that serves nothing or goes wrong; else the rules' heights."""
        reached, lowest = reachable(rules, start), heights(rules)
        for tree in statements:
            name = _token(tree.children[0])
            if tree.data == "domain":
                if name not in self.used:
                    raise self.fault(f"domain '{name}' is not used: use it or delete it", name)
                continue
            if name not in reached:
                raise self.fault(f"rule '{name}' cannot be reached from '{start}'", name)
            if min(lowest[str(name)]) >= ENDLESS and on_cycle(rules, str(name)):
                cure = "give it an alternative without itself"
                raise self.fault(f"rule '{name}' never ends: {cure}", name)
            for height, alternative in zip(
                lowest[str(name)], rules[str(name)].alternatives, strict=True
            ):
                if height >= ENDLESS > min(lowest[str(name)]):
                    raise self.fault("this alternative never ends", self.places[alternative])
        if self.heads[start][0]:
            raise self.fault("the first rule takes no parameters", self.heads[start][1])
        if min(lowest[start]) > DEEPEST:
            message = f"the lowest tree is {min(lowest[start])} levels high; at most {DEEPEST}"
            raise self.fault(message, self.heads[start][1])
        found = first_fault(rules, start, self.primitives)
        if found is not None:
            raise self.fault(found[1], self.places[found[0]])
        return lowest


def _plain(name: str) -> Parameter:
    return Parameter(name=name, free=True)


def _trees(tree: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _token(part: Token | Tree[Token]) -> Token:
    assert isinstance(part, Token)
    return part


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _close(name: str, known: Iterable[str]) -> str:
    matches = get_close_matches(name, list(known), 1)
    return f"; did you mean '{matches[0]}'?" if matches else ""
