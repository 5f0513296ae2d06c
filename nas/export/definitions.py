"""The source of classes and functions with all that they use, gathered from their modules.

A name in a definition leads to a binding at the top of its module: an import of torch or of the
standard library is kept as an import; a class, function or constant comes along as source, after
what it uses itself; an import from a module of the same package is followed to the definition.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from nas.export.errors import ExportError

_ROOT = "searchspace"


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """One imported name."""

    module: str
    """Module it comes from."""
    name: str = ""
    """Name in the module; empty for the module itself."""
    alias: str = ""
    """Name it is given, where that differs."""

    def __str__(self) -> str:
        name = f"{self.name or self.module} as {self.alias}" if self.alias else self.name
        return f"from {self.module} import {name}" if self.name else f"import {name or self.module}"

    @property
    def bound(self) -> str:
        """The name that the import binds."""
        return self.alias or self.name or self.module.split(".")[0]


@dataclass
class Definitions:
    """Source gathered so far, in an order in which every definition finds what it needs.

    Args:
        taken: names that the source around the definitions uses itself, and the import of each
            (None: a definition of its own).
    """

    taken: dict[str, Import | None]
    sources: list[str] = field(default_factory=list)
    """Text of every definition, in order."""
    imports: set[Import] = field(default_factory=set)
    """What the definitions import."""
    _origins: dict[str, Import] = field(default_factory=dict)

    def add(self, thing: Any) -> None:
        """Gather a class or function and what it uses.

        Raises:
            ExportError: its source cannot be had, or needs more than torch and the standard
                library, or a name means two different things.
        """
        module, name = thing.__module__, thing.__qualname__
        if "." in name:
            raise ExportError(
                f"{module}.{name} cannot be exported: define it at the top level of its module"
            )
        if not _is_plain(module):
            self._define(module, name, {_ROOT, module.split(".")[0]})

    def _define(self, module: str, name: str, own: set[str]) -> None:
        statement = _bindings(module).get(name)
        if statement is None:
            raise ExportError(
                f"{module}.{name} cannot be exported: it is not defined in its module's source"
            )
        if isinstance(statement, Import):
            self._follow(statement, name, module, own)
            return
        if not self._claim(name, Import(module, name)):
            return
        for used in _names(statement):
            if used != name and used in _bindings(module):
                self._define(module, used, own)
        self.sources.append(_text(module, statement))

    def _follow(self, found: Import, name: str, user: str, own: set[str]) -> None:
        if _is_plain(found.module):
            # `import a.b` and `import a.c` both bind `a`, and get along.
            origin = found if found.name or found.alias else Import(found.bound)
            self._claim(name, origin)
            self.imports.add(found)
        elif found.module.split(".")[0] not in own:
            raise ExportError(
                f"{user} imports {found.module}, but an exported layer may use only torch, the "
                "standard library and its own package"
            )
        elif not found.name or found.alias or not _defined(found):
            raise ExportError(
                f"'{found}' in {user} cannot be exported: import the class, function or constant "
                "itself, under its own name"
            )
        else:
            self._define(found.module, found.name, own)

    def _claim(self, name: str, origin: Import) -> bool:
        """Whether the name is new; a fault if it stands for something else already."""
        known = self.taken[name] if name in self.taken else self._origins.get(name, origin)
        if known != origin:
            other = f"{known.module}.{known.name}" if known else "the exported network"
            raise ExportError(
                f"'{name}' means both {origin.module}.{origin.name} and what {other} calls so: "
                "rename the layer's"
            )
        new = name not in self._origins
        self._origins[name] = origin
        return new


def _is_plain(module: str) -> bool:
    """Whether a module is torch's or the standard library's."""
    top = module.split(".")[0]
    return top == "torch" or top in sys.stdlib_module_names


def _defined(found: Import) -> bool:
    return found.name in _bindings(found.module)


@cache
def _source(module: str) -> str:
    file = getattr(import_module(module), "__file__", None) or ""
    if not file.endswith(".py"):
        raise ExportError(f"the source of {module} cannot be read: define its layers in a .py file")
    return Path(file).read_text("utf-8")


@cache
def _bindings(module: str) -> dict[str, ast.stmt | Import]:
    """What the names at the top of a module are bound to."""
    found: dict[str, ast.stmt | Import] = {}
    for statement in _statements(ast.parse(_source(module)).body):
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            names = (n for t in statement.targets for n in ast.walk(t))
            found.update({n.id: statement for n in names if isinstance(n, ast.Name)})
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = statement
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            found.update({i.bound: i for i in _imports(statement, module)})
    return found


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those under `if` and `try` included."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            yield from _statements(statement.body)


def _imports(statement: ast.Import | ast.ImportFrom, module: str) -> Iterator[Import]:
    for alias in statement.names:
        renamed = alias.asname if alias.asname and alias.asname != alias.name else ""
        if isinstance(statement, ast.Import):
            parent, _, last = alias.name.rpartition(".")
            if parent and alias.asname:
                yield Import(parent, last, alias.asname if alias.asname != last else "")
            else:
                yield Import(alias.name, "", renamed)
            continue
        source = "." * statement.level + (statement.module or "")
        package = getattr(import_module(module), "__package__", None)
        yield Import(resolve_name(source, package), alias.name, renamed)


def _names(statement: ast.stmt) -> list[str]:
    """The names that a statement mentions, in order, each once."""
    names = [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(names))


def _text(module: str, statement: ast.stmt) -> str:
    """A statement's lines, with its decorators and the comment above."""
    rows = _source(module).splitlines()
    decorators = getattr(statement, "decorator_list", [])
    first = min(node.lineno for node in (statement, *decorators)) - 1
    while first and rows[first - 1].startswith("#"):
        first -= 1
    return "\n".join(rows[first : statement.end_lineno])
