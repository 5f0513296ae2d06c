"""Grammar text to a parse tree, by Lark, with faults that point into the text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from searchspace.grammar import GrammarError

_EXPECTED = {
    "NAME": "a name",
    "INT": "an integer",
    "_NL": "a statement in the first column",
    "$END": "the end of the file",
    "ONCE": "'^'",
    "SAME": "'^^'",
    "COMPARE": "a comparison",
    "SIGN": "'+' or '-'",
    "TIMES": "'*'",
    "FLOAT": "a weight",
    "IS_BLOCK": "'is block'",
}

_LETTERS = 100
"""Longest name or number, in characters."""
_DIGITS = 9
"""Longest integer, in digits."""
_NESTED = 150
"""Deepest parse tree: about forty calls inside each other."""
_COMMENT = re.compile(r"#.*")


@cache
def _parser() -> Lark:
    text = files("searchspace").joinpath("grammar.lark").read_text()
    return Lark(text, parser="lalr", propagate_positions=True, maybe_placeholders=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A file's contents and name, to which faults point."""

    text: str
    source: str

    def fault(self, message: str, where: Token | Tree[Token]) -> GrammarError:
        """The fault at a part of the parse tree."""
        line = where.line if isinstance(where, Token) else where.meta.line
        column = where.column if isinstance(where, Token) else where.meta.column
        return GrammarError(
            message, source=self.source, line=line or 1, column=column or 1, text=self.text
        )


def parse(text: Text) -> Tree[Token]:
    """The parse tree of a space's file, by the rules of `grammar.lark`.

    Raises:
        GrammarError: the text is not of the form, or its parts are too long or nested too deep for
            what comes next; says what was expected where.
    """
    try:
        tree = _parser().parse(text.text + "\n")
    except UnexpectedInput as fault:
        raise _syntax_error(fault, text.source, text.text) from None
    _small(tree, text)
    return tree


def _small(tree: Tree[Token], text: Text) -> None:
    waiting: list[tuple[Token | Tree[Token], int]] = [(tree, 0)]
    while waiting:
        part, depth = waiting.pop()
        if isinstance(part, Tree):
            if depth > _NESTED:
                raise text.fault("this nests too deep: give the inner part a rule", part)
            waiting.extend((child, depth + 1) for child in part.children)
        elif len(part) > _LETTERS:
            raise text.fault(f"a name has at most {_LETTERS} letters", part)
        elif part.type == "INT" and len(part) > _DIGITS:
            raise text.fault(f"an integer has at most {_DIGITS} digits", part)


def trees(tree: Tree[Token]) -> list[Tree[Token]]:
    """The children that are trees."""
    return [child for child in tree.children if isinstance(child, Tree)]


def token(part: Token | Tree[Token]) -> Token:
    """A child that the form says is a token."""
    assert isinstance(part, Token)
    return part


def _syntax_error(fault: UnexpectedInput, source: str, text: str) -> GrammarError:
    line, column = max(fault.line, 1), max(fault.column, 1)
    found = "this"
    expected: Iterable[str] = ()
    if isinstance(fault, UnexpectedToken):
        expected = fault.accepts or fault.expected
        found = "the end" if fault.token.type in ("$END", "_NL") else repr(str(fault.token[:40]))
        if fault.token.type in ("$END", "_NL"):
            line, column = _behind_last_word(text, line)
    elif isinstance(fault, UnexpectedCharacters):
        # What the lexer looked for is more than what the parser would take.
        parser = getattr(fault, "interactive_parser", None)
        expected = parser.accepts() if parser is not None else fault.allowed or ()
        found = repr(fault.char)
    words = sorted({_EXPECTED.get(name, repr(_literal(name))) for name in expected})
    message = f"expected {' or '.join(words) or 'something else'}; found {found}"
    return GrammarError(message, source=source, line=line, column=column, text=text)


def _behind_last_word(text: str, line: int) -> tuple[int, int]:
    """Line and column behind the last word up to a line break, comments and blank lines aside."""
    lines = [_COMMENT.sub("", part).rstrip() for part in text.split("\n")[:line]]
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return len(lines), len(lines[-1]) + 1


def _literal(name: str) -> str:
    """The characters of a token that Lark named itself."""
    known = {terminal.name: terminal.pattern.value for terminal in _parser().terminals}
    return str(known.get(name, name))
