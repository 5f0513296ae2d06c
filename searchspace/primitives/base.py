"""What a primitive is: a terminal of the grammar with parameters, a shape rule and a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from searchspace.shapes import TensorSpec
from searchspace.tree import Value

ANY = -1
"""`Primitive.groups` of a primitive that takes one sequence argument or more."""
SEVERAL = -2
"""`Primitive.groups` of a primitive that takes two sequence arguments or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One scalar parameter of a primitive: a word out of a list, or an integer within bounds."""

    name: str
    """Name, as a keyword in grammar files."""
    words: tuple[str, ...] = ()
    """The words that it may be; empty for an integer."""
    choices: tuple[int, ...] = ()
    """The integers that it may be; empty for any from `least`."""
    least: int = 1
    """Smallest integer allowed."""
    most: int | None = None
    """Largest integer allowed; None for any from `least`."""
    odd: bool = False
    """Whether the integer must be odd."""
    free: bool = False
    """Whether any value does: a rule's parameter."""
    shapes: bool = True
    """Whether the shape rule may look at it. If not, what is served and what leaves are the same
    for all values, which makes counting fast."""

    def fault(self, value: Value) -> str | None:
        """What is wrong with a value, or None."""
        if self.free:
            return None
        if self.words:
            known = ", ".join(self.words)
            return None if value in self.words else f"{self.name} must be one of {known}"
        if self.choices:
            known = ", ".join(map(str, self.choices))
            return None if value in self.choices else f"{self.name} must be one of {known}"
        if not isinstance(value, int) or value < self.least:
            return f"{self.name} must be an integer of at least {self.least}"
        if self.most is not None and value > self.most:
            return f"{self.name} must be at most {self.most}"
        return f"{self.name} must be odd" if self.odd and value % 2 == 0 else None


Values = Mapping[str, Value]
"""A primitive's scalar arguments by name."""
Arguments = dict[str, int | float | str | bool]
"""Keyword arguments of a module's constructor."""


def _same(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return spec


def _unchanged(spec: TensorSpec, values: Values) -> TensorSpec:
    return spec


def _once(values: Values) -> int:
    return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Primitive:
    """A named terminal of the grammar.

    Composite primitives take sequences: their module's constructor takes one module for each,
    before the keyword arguments, and every sequence is built for the spec that `inside` gives.
    Where `copies` is above 1 it takes that many modules for each sequence, built one by one, so
    that each has its own weights: all sequences in order, then all of them again, and so on.
    """

    name: str
    """Name in grammar files."""
    summary: str
    """What it computes, in a line, with its source."""
    module: type[nn.Module]
    """The module; its source must need torch alone and the classes in `needs`."""
    arguments: Callable[[TensorSpec, Values], Arguments]
    """Constructor arguments for an input spec and the scalar arguments."""
    parameters: tuple[Parameter, ...] = ()
    """Scalar parameters, in order."""
    groups: int = 0
    """How many sequence arguments it takes; `ANY` for one or more, `SEVERAL` for two or more."""
    result: Callable[[TensorSpec, Values, Sequence[TensorSpec]], TensorSpec] = _same
    """Output spec from the input spec, the scalar arguments and each sequence's output spec.

    Raises `ShapeError` where the primitive does not serve the shape. Copies are not listed: every
    copy of a sequence has the same output spec.
    """
    inside: Callable[[TensorSpec, Values], TensorSpec] = _unchanged
    """What enters each sequence argument, from the input spec; may raise `ShapeError`."""
    copies: Callable[[Values], int] = _once
    """How many times each sequence argument is built, with weights of its own."""
    total: bool = False
    """Serves every shape of every mode, whatever its arguments; never a composite, whose bodies
    decide."""
    merged: tuple[str, ...] = ()
    """Constructor flags that give the form that runs at inference, where that differs."""
    needs: tuple[type | Callable[..., object], ...] = ()
    """Classes and functions of this project that the module's source uses."""

    @property
    def bearing(self) -> frozenset[int]:
        """Positions of the scalar parameters that shapes or the number of copies may hang on."""
        if self.groups == 0 and self.result is _same:
            return frozenset()
        return frozenset(i for i, p in enumerate(self.parameters) if p.shapes)

    def named(self, values: Sequence[Value]) -> dict[str, Value]:
        """The scalar arguments by name."""
        return {p.name: value for p, value in zip(self.parameters, values, strict=True)}
