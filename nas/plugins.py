"""Finds predictors, strategies and targets by name: shipped, plug-ins, or `package.module:Class`.

Primitives of installed packages are found by `searchspace.primitives.table`; here those are taken
in that a user names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

from nas.foreign import import_foreign
from searchspace.primitives import PRIMITIVES

PREDICTORS: Mapping[str, str] = {
    "entropy": "predictors.entropy:EntropyPredictor",
    "maedet": "predictors.maedet:MaeDetPredictor",
    "zen": "predictors.zen:ZenPredictor",
}
"""Quality predictors that ship."""
GROUPS = {"predictor": "nas.predictors", "strategy": "nas.strategies", "target": "nas.targets"}
"""Entry-point groups by which packages join."""


class PluginError(ValueError):
    """A name that leads nowhere, or a class that cannot be loaded."""


def known(kind: str, shipped: Mapping[str, str]) -> list[str]:
    """Names of what ships and of what installed packages add, sorted."""
    return sorted({*shipped, *(point.name for point in entry_points(group=GROUPS[kind]))})


def find(kind: str, name: str, shipped: Mapping[str, str]) -> Any:
    """The object that a name or a `package.module:Class` stands for.

    Args:
        kind: `predictor`, `strategy` or `target`.
        name: a shipped name, an entry point's name, or where the object is.
        shipped: what ships, by name.

    Raises:
        PluginError: nothing is there; names what is known.
    """
    if name in shipped:
        return load(shipped[name], kind)
    for point in entry_points(group=GROUPS[kind]):
        if point.name == name:
            return load(point.value, kind)
    if ":" in name:
        return load(name, kind)
    names = known(kind, shipped)
    close = get_close_matches(name, names, 1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    raise PluginError(
        f"no {kind} '{name}'{hint} (known: {', '.join(names)}; or give package.module:Class)"
    )


def load(place: str, kind: str) -> Any:
    """The object at `package.module:name`, the current directory searched too.

    Raises:
        PluginError: the form is another, the module cannot be imported, or lacks the name.
    """
    module_name, _, attribute = place.partition(":")
    if not module_name or not attribute:
        raise PluginError(f"a {kind} is given as package.module:name; got '{place}'")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found: Any = import_foreign(module_name)
    except Exception as fault:
        raise PluginError(
            f"cannot import '{module_name}' for the {kind} '{place}': {fault}"
        ) from fault
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise PluginError(f"module '{module_name}' has no '{attribute}', asked for as {kind}")
        found = getattr(found, part)
    return found


def add_primitives(places: Iterable[str]) -> None:
    """Make primitives known by their names, for this process; those that are known may come again.

    Args:
        places: each `package.module:NAME`, of a `Primitive` or a sequence of some.

    Raises:
        PluginError: nothing is there.
        PrimitiveError: it is no primitive, or its name is taken.
    """
    for place in places:
        PRIMITIVES.add(load(place, "primitive"), place)
