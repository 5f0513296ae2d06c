"""Shapes with hidden sizes, to learn what a shape rule does not look at.

A shape rule that runs on such a shape, and never asks for a hidden size, does the same whatever
that size is. So one run tells of all shapes that differ in it alone. Hidden sizes are no numbers:
they can be handed on, and all else that is done with them raises `SeenError`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NoReturn

from searchspace.shapes import TensorSpec

CHANNELS, ALL = 1, 2
"""What is hidden: the number of channels or features, or all sizes."""


class SeenError(Exception):
    """A shape rule asked for a hidden size."""


def _seen(*_: object) -> NoReturn:
    raise SeenError


class _Hidden:
    """A hidden size; each is equal to itself alone, and not even that can be asked."""

    __slots__ = ()
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _seen
    __hash__ = __bool__ = __int__ = __index__ = __float__ = _seen
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _seen
    __floordiv__ = __rfloordiv__ = __truediv__ = __rtruediv__ = __mod__ = __rmod__ = _seen
    __pow__ = __rpow__ = __neg__ = __abs__ = __divmod__ = __rdivmod__ = _seen
    __str__ = __repr__ = __format__ = _seen


_HIDDEN: tuple[Any, ...] = (_Hidden(), _Hidden(), _Hidden())


@lru_cache(maxsize=65_536)
def blinded(spec: TensorSpec, what: int) -> TensorSpec:
    """The spec with some sizes hidden; the same object for all specs that then look alike."""
    if is_blind(spec):
        return spec
    last = len(spec.shape) - 1
    channel = last if spec.mode == "tokens" else 0
    hidden = range(last + 1) if what == ALL else (channel,)
    known = tuple([-1 if i in hidden else size for i, size in enumerate(spec.shape)])
    return _made(spec.mode, known)


@lru_cache(maxsize=65_536)
def _made(mode: str, known: tuple[int, ...]) -> TensorSpec:
    # The sizes are not looked at, as `TensorSpec` does where it is made in the ordinary way.
    spec = object.__new__(TensorSpec)
    shape = tuple([_HIDDEN[i] if size < 0 else size for i, size in enumerate(known)])
    for name, value in (("mode", mode), ("shape", shape), ("_hash", hash((mode, known)))):
        object.__setattr__(spec, name, value)
    return spec


def is_blind(spec: TensorSpec) -> bool:
    """Whether a spec hides some size."""
    return any(isinstance(size, _Hidden) for size in spec.shape)
