"""Grammar text to a parse tree, by Lark, with faults that point into the text."""

from __future__ import annotations

import re
from collections.abc import Iterable
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

_COMMENT = re.compile(r"#.*")


@cache
def _parser() -> Lark:
    text = files("searchspace").joinpath("grammar.lark").read_text()
    return Lark(text, parser="lalr", propagate_positions=True, maybe_placeholders=False)


def parse(text: str, source: str) -> Tree[Token]:
    """The parse tree of a space's file, by the rules of `grammar.lark`.

    Raises:
        GrammarError: the text is not of the form; says what was expected where.
    """
    try:
        return _parser().parse(text + "\n")
    except UnexpectedInput as fault:
        raise _syntax_error(fault, source, text) from None


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
