"""Which candidates are one and the same network."""

from __future__ import annotations

from collections.abc import Callable

from searchspace.architecture import Architecture
from searchspace.canonical import canonical_key
from searchspace.shapes import ShapeError, TensorSpec


def identity_for(spec: TensorSpec) -> Callable[[Architecture], str]:
    """What tells candidates apart: their canonical key, or the tree's if it cannot be built.

    Args:
        spec: input of the networks.
    """

    def identity(architecture: Architecture) -> str:
        try:
            return canonical_key(architecture, spec)
        except ShapeError:
            return architecture.key

    return identity
