"""What is known of a published network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from searchspace.picks import Pick, pick


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A network of the literature."""

    space: str
    """Name of the space that holds it."""
    size: int
    """Height and width of the images that it was made for."""
    classes: int
    """Number of classes that it was made for."""
    parameters: int
    """Parameters, with that many classes, as published or as counted in the authors' code."""
    source: str
    """The paper, and where the number of parameters is from."""
    choices: Callable[[], Pick]
    """Its derivation."""


def row(
    space: str,
    parameters: int,
    source: str,
    choices: Callable[[], Pick],
    *,
    size: int = 224,
    classes: int = 1000,
) -> Published:
    """A network; see `Published` for the arguments."""
    return Published(
        space=space,
        size=size,
        classes=classes,
        parameters=parameters,
        source=source,
        choices=choices,
    )


FIRST = pick(0)
"""The first alternative, where it has no choices of its own: batch norm in `conv_resnet`, layer
norm in `conv_large_kernel`, no gate in `mobile`, multi-head attention in `vit`."""
