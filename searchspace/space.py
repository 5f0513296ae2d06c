"""Finds a space by name or by the path of a grammar file."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from searchspace.grammar import Grammar
from searchspace.read import Limits, read_grammar
from searchspace.shapes import TensorSpec
from searchspace.tree import FLOAT

SUFFIX = ".grammar"


class UnknownSpaceError(ValueError):
    """No space of that name, or no file at that path."""


def space_names() -> tuple[str, ...]:
    """Names of the spaces that ship, sorted."""
    folder = files("searchspace").joinpath("grammars")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)))


def space_text(name: str) -> str:
    """The text of a space that ships, or of the grammar file at a path.

    Raises:
        UnknownSpaceError: neither exists, or the file cannot be read as text.
    """
    if name in space_names():
        return files("searchspace").joinpath("grammars", name + SUFFIX).read_text("utf-8")
    path = Path(name)
    if path.suffix == SUFFIX or "/" in name:
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise UnknownSpaceError(f"cannot read the grammar file {name}: {fault}") from None
    close = get_close_matches(name, space_names(), 1)
    cure = f"known: {', '.join(space_names())}; or give the path of a {SUFFIX} file"
    if close:
        cure = f"did you mean '{close[0]}'?"
    raise UnknownSpaceError(f"no space '{name}'; {cure}")


def load_space(
    name: str,
    *,
    spec: TensorSpec | None = None,
    classes: int | None = None,
    limits: Limits | None = None,
    schemes: tuple[str, ...] = (FLOAT,),
) -> Grammar:
    """The grammar of a space that ships, or of a `.grammar` file.

    Checking a grammar takes tenths of a second; of a space that ships this is done once for each
    set of arguments.

    Args and raises as `searchspace.read.read_grammar`, and `UnknownSpaceError`.
    """
    if name in space_names():
        narrowed = tuple((domain, (low, high)) for domain, (low, high) in (limits or {}).items())
        return _shipped(name, spec, classes, narrowed, schemes)
    source = Path(name).name if "/" in name or name.endswith(SUFFIX) else name + SUFFIX
    return read_grammar(
        space_text(name), source=source, spec=spec, classes=classes, limits=limits, schemes=schemes
    )


@lru_cache(maxsize=32)
def _shipped(
    name: str,
    spec: TensorSpec | None,
    classes: int | None,
    limits: tuple[tuple[str, tuple[int, int]], ...],
    schemes: tuple[str, ...],
) -> Grammar:
    return read_grammar(
        space_text(name),
        source=name + SUFFIX,
        spec=spec,
        classes=classes,
        limits=dict(limits),
        schemes=schemes,
    )
