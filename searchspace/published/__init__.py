"""Published networks as trees of the spaces that ship: known points, and places to start from.

Each is derived choice by choice; `searchspace.picks` says how. Alternatives are counted from 0 in
the order of the grammar file, and what leaves no choice there is not mentioned here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.picks import derive
from searchspace.published.convolutional import CONVOLUTIONAL
from searchspace.published.large_kernel import LARGE_KERNEL
from searchspace.published.nasnet import NASNET
from searchspace.published.record import Published
from searchspace.published.transformers import TRANSFORMERS
from searchspace.space import load_space

__all__ = ["PUBLISHED", "Published", "UnknownNetworkError", "published"]

PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {**CONVOLUTIONAL, **LARGE_KERNEL, **NASNET, **TRANSFORMERS}
)
"""Published networks by name."""


class UnknownNetworkError(ValueError):
    """No published network of that name."""


def published(name: str, *, classes: int | None = None) -> Architecture:
    """The tree of a published network.

    Args:
        name: one of `PUBLISHED`.
        classes: size of the output, instead of the published one.

    Raises:
        UnknownNetworkError: there is none of that name; the message lists those there are.
    """
    if name not in PUBLISHED:
        known = ", ".join(PUBLISHED)
        raise UnknownNetworkError(f"no published network '{name}'; known are {known}")
    network = PUBLISHED[name]
    return derive(_grammar(network.space, classes or network.classes), network.choices())


@cache
def _grammar(space: str, classes: int) -> Grammar:
    return load_space(space, classes=classes)
