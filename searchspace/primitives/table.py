"""The table of primitives by name: those that ship, those given by hand, those of other packages.

A package joins by entry points of the group `nas.primitives`: the entry's name is the primitive's
name in grammar files, and it leads to the `Primitive`, to a sequence of some, or to a module with
such a sequence called `PRIMITIVES`. Nothing is imported before its name is looked up, so a package
that cannot be imported harms only who uses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from searchspace.primitives.base import Primitive

GROUP = "nas.primitives"
"""The group of entry points."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class PrimitiveError(ValueError):
    """A primitive of another package that cannot be had, or whose name is taken."""


class PrimitiveTable(Mapping[str, Primitive]):
    """Primitives by name.

    Iteration, `len` and `in` tell of those that ship and those given by hand; a look-up also finds
    what is installed. So a package that is installed takes no name from the rules of a file.
    """

    def __init__(self, shipped: Iterable[Primitive]) -> None:
        self._shipped = {primitive.name: primitive for primitive in shipped}
        self._known = dict(self._shipped)
        self._loaded: dict[str, Primitive] = {}
        self._points: dict[str, list[EntryPoint]] | None = None

    def __getitem__(self, name: str) -> Primitive:
        """The primitive of a name.

        Raises:
            KeyError: there is none.
            PrimitiveError: a package has it, but it cannot be loaded, or its name is taken.
        """
        points = self._installed.get(name)
        if points is None:
            return self._known[name]
        if name in self._shipped:
            raise PrimitiveError(_clash(name, f"the package {_package(points[0])}"))
        if name in self._known:
            return self._known[name]
        if name not in self._loaded:
            self._loaded[name] = _load(name, points)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, found: object, place: str = "what is added") -> None:
        """Take in a primitive or several; those that are in already, under the same name, may stay.

        Args:
            found: a `Primitive`, a sequence of some, or a module with such a `PRIMITIVES`.
            place: where it is from, for messages.

        Raises:
            PrimitiveError: it is none of these, or a name is taken; then nothing is taken in.
        """
        new = {primitive.name: primitive for primitive in _records(found, place)}
        for name, primitive in new.items():
            if name in self._shipped:
                raise PrimitiveError(_clash(name, place))
            if self._known.get(name, primitive) is not primitive:
                raise PrimitiveError(
                    f"{place} has another primitive '{name}' than the one given before: rename one"
                )
        self._known |= new

    @property
    def _installed(self) -> Mapping[str, list[EntryPoint]]:
        """Entry points by name; read when first asked for."""
        if self._points is None:
            self._points = {}
            for point in entry_points(group=GROUP):
                self._points.setdefault(point.name, []).append(point)
        return self._points


def _records(found: object, place: str) -> tuple[Primitive, ...]:
    several = getattr(found, "PRIMITIVES", found)
    records = (several,) if isinstance(several, Primitive) else several
    if not isinstance(records, list | tuple) or not records:
        raise PrimitiveError(
            f"{place} must be a Primitive, a sequence of some, or a module with PRIMITIVES; got "
            f"{type(found).__name__}"
        )
    for record in records:
        if not isinstance(record, Primitive):
            raise PrimitiveError(
                f"{place} must hold nothing but primitives; got {type(record).__name__}"
            )
        if not _NAME.fullmatch(record.name):
            raise PrimitiveError(
                f"the name of a primitive must be of letters, digits and _; {place} has "
                f"{record.name!r}"
            )
    return tuple(records)


def _load(name: str, points: list[EntryPoint]) -> Primitive:
    packages = sorted({_package(point) for point in points})
    if len(packages) > 1:
        raise PrimitiveError(
            f"the packages {' and '.join(packages)} both have a primitive '{name}': uninstall one"
        )
    place = f"the entry point {points[0].value} of the package {packages[0]}"
    try:
        found = points[0].load()
    except Exception as fault:
        raise PrimitiveError(
            f"the primitive '{name}' cannot be loaded: {place} failed with {type(fault).__name__}: "
            f"{fault}"
        ) from fault
    named = {primitive.name: primitive for primitive in _records(found, place)}
    if name not in named:
        raise PrimitiveError(
            f"{place} must have a primitive '{name}', as the entry is called; it has "
            f"{', '.join(sorted(named))}"
        )
    return named[name]


def _package(point: EntryPoint) -> str:
    """Name of the package that an entry point is from."""
    return point.dist.name if point.dist else point.value.partition(".")[0].partition(":")[0]


def _clash(name: str, other: str) -> str:
    return (
        f"'{name}' names a primitive that ships and one of {other}: the latter needs another name"
    )
