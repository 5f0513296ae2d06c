"""Grammar text to `Grammar`: parsed, resolved, and checked once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lark import Token, Tree

from searchspace.arguments import first_fault
from searchspace.branching import branching_rate
from searchspace.derivation import FREE
from searchspace.fits import first_misfit
from searchspace.grammar import Domain, Grammar, GrammarError, LimitError, Rule, SizeLimits
from searchspace.lazy import EndlessError
from searchspace.primitives import PRIMITIVES
from searchspace.primitives.base import Primitive
from searchspace.resolve import CLASSES, Resolver
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.syntax import Text, parse, token, trees
from searchspace.tree import FLOAT, Value
from searchspace.wellformed import ENDLESS, heights, on_cycle, reachable

_MODES = {"image": "image", "tokens": "tokens"}
_LONGEST_RANGE = 100_000
"""Most values of one domain."""
_SCHEME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LIMITS = ("nodes", "elements")
Limits = Mapping[str, tuple[int, int]]
"""Domains to narrow: smallest and largest value kept, by the domain's name."""


def read_grammar(
    text: str,
    *,
    source: str = "grammar",
    spec: TensorSpec | None = None,
    classes: int | None = None,
    limits: Limits | None = None,
    schemes: tuple[str, ...] = (FLOAT,),
    primitives: Mapping[str, Primitive] = PRIMITIVES,
) -> Grammar:
    """Read a space from its text.

    Args:
        text: the file's contents; `docs/grammar.md` describes the form.
        source: the file's name, for messages.
        spec: what enters the networks, instead of what the file states.
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
    reader = _Reader(Text(text, source), limits or {}, primitives)
    return reader.grammar(parse(reader.text), spec, classes, schemes)


class _Reader:
    """Reads one parsed file."""

    def __init__(self, text: Text, limits: Limits, primitives: Mapping[str, Primitive]) -> None:
        self.text, self.limits, self.primitives = text, limits, primitives
        self.domains: dict[str, Domain] = {}
        self.heads: dict[str, tuple[tuple[str, ...], Token]] = {}
        self.sizes: dict[str, int] = {}

    def fault(self, message: str, where: Token | Tree[Token]) -> GrammarError:
        return self.text.fault(message, where)

    def grammar(
        self,
        tree: Tree[Token],
        spec: TensorSpec | None,
        classes: int | None,
        schemes: tuple[str, ...],
    ) -> Grammar:
        header, *statements = trees(tree)
        name, stated, number = self.header(header)
        rules = [s for s in statements if s.data == "rule"]
        for statement in statements:
            if statement.data == "domain":
                self.domain(statement)
            elif statement.data == "limit":
                self.limit(statement)
        self.narrow()
        for rule in rules:
            self.head(rule)
        if not rules:
            raise self.fault("a space needs a rule after its first line", header)
        resolver = Resolver(
            text=self.text,
            classes=classes or number,
            primitives=self.primitives,
            domains=self.domains,
            heads=self.heads,
        )
        read = {str(rule.children[0]): resolver.rule(rule) for rule in rules}
        start = str(rules[0].children[0])
        self.check_rules(statements, read, start, resolver)
        grammar = Grammar(
            name=name,
            input=spec or stated,
            classes=classes or number,
            domains=self.domains,
            rules=read,
            start=start,
            limits=SizeLimits(**self.sizes),
            schemes=schemes,
            primitives=self.primitives,
            text=self.text.text,
        )
        self.check_trees(grammar, resolver)
        return grammar

    def header(self, tree: Tree[Token]) -> tuple[str, TensorSpec, int]:
        name = token(tree.children[0])
        spec, output = trees(tree)
        mode, *sizes = map(token, spec.children)
        if mode not in _MODES:
            raise self.fault("the input must be image[C, H, W] or tokens[N, D]", mode)
        kind, classes = map(token, output.children)
        if kind != CLASSES:
            raise self.fault("the output must be classes[N]", kind)
        try:
            shape = TensorSpec("image" if mode == "image" else "tokens", tuple(map(int, sizes)))
        except ShapeError as fault:
            raise self.fault(str(fault), mode) from None
        if int(classes) < 1:
            raise self.fault("the output needs at least 1 class", classes)
        return str(name), shape, int(classes)

    def domain(self, tree: Tree[Token]) -> None:
        name, body = token(tree.children[0]), trees(tree)[0]
        if name in self.domains or name == CLASSES:
            raise self.fault(f"domain '{name}' is defined already", name)
        words = [token(child) for child in body.children]
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
        name = token(tree.children[0])
        if name in self.heads:
            raise self.fault(f"rule '{name}' is defined already", name)
        if name in self.primitives:
            raise self.fault(f"'{name}' is a primitive; give the rule another name", name)
        found = [t for t in trees(tree) if t.data == "parameters"]
        parameters = tuple(str(p) for p in found[0].children) if found else ()
        if len(set(parameters)) < len(parameters):
            raise self.fault(f"rule '{name}' has two parameters of one name", name)
        self.heads[str(name)] = (parameters, name)

    def limit(self, tree: Tree[Token]) -> None:
        name, most = map(token, tree.children)
        if name not in _LIMITS:
            raise self.fault(f"a limit is on {' or '.join(_LIMITS)}; got '{name}'", name)
        if name in self.sizes:
            raise self.fault(f"there is a limit on {name} already", name)
        if int(most) < 1:
            raise self.fault("a limit must be at least 1", most)
        self.sizes[str(name)] = int(most)

    def check_rules(
        self,
        statements: Iterable[Tree[Token]],
        rules: Mapping[str, Rule],
        start: str,
        resolver: Resolver,
    ) -> None:
        """Raise at the first part that serves nothing or goes wrong, whatever the shapes."""
        reached, lowest = reachable(rules, start), heights(rules)
        for tree in statements:
            name = token(tree.children[0])
            if tree.data == "domain" and name not in resolver.used:
                raise self.fault(f"domain '{name}' is not used: use it or delete it", name)
            if tree.data != "rule":
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
                    raise self.fault("this alternative never ends", resolver.places[alternative])
        if self.heads[start][0]:
            raise self.fault("the first rule takes no parameters", self.heads[start][1])
        if min(lowest[start]) > FREE:
            message = f"the lowest tree is {min(lowest[start])} levels high; at most {FREE}"
            raise self.fault(message, self.heads[start][1])
        found = first_fault(rules, start, self.primitives)
        if found is not None:
            raise self.fault(found[1], resolver.places[found[0]])

    def check_trees(self, grammar: Grammar, resolver: Resolver) -> None:
        """Raise if trees grow without end, or none fits the input."""
        start = self.heads[grammar.start][1]
        try:
            rate, rule = branching_rate(grammar)
            if rate > 1 and not grammar.limits.nodes:
                raise self.fault(
                    f"an expansion of '{rule}' leads to {rate:.3g} more of its kind on average, "
                    "copies counted, so trees grow without end: lower the weights of the "
                    "alternatives that hold it, or add a line such as 'limit nodes <= 300'",
                    self.heads[rule][1],
                )
            misfit = first_misfit(grammar)
        except EndlessError as fault:
            raise self.fault(str(fault), self.heads[fault.symbol][1]) from None
        if misfit is not None:
            place = start if misfit.item is None else resolver.places[misfit.item]
            raise self.fault(misfit.message, place)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
