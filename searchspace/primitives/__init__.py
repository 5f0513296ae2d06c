"""The terminals of every grammar: one file a family, and here the one table of their names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from searchspace.primitives import (
    attention,
    channel,
    channel_mixers,
    composite,
    convolution,
    dense_convolution,
    drop_path,
    dynamic_convolution,
    einspace,
    fork,
    nasnet,
    norm,
    parameter_free,
    resolution,
    reversible,
    slots,
    spectral,
    token_mixers,
    token_reduction,
    tokens,
    two_scales,
    weighted_convolution,
)
from searchspace.primitives.base import Parameter, Primitive
from searchspace.primitives.table import PrimitiveError, PrimitiveTable

_FAMILIES = (
    composite,
    fork,
    reversible,
    convolution,
    dense_convolution,
    weighted_convolution,
    dynamic_convolution,
    spectral,
    parameter_free,
    resolution,
    channel,
    channel_mixers,
    norm,
    drop_path,
    tokens,
    token_reduction,
    attention,
    token_mixers,
    einspace,
    nasnet,
    slots,
    two_scales,
)
PRIMITIVES = PrimitiveTable(p for family in _FAMILIES for p in family.PRIMITIVES)
"""Every primitive by its name in grammar files; those of other packages are found here too."""
FAMILIES: Mapping[str, str] = MappingProxyType(
    {p.name: family.__name__.rpartition(".")[2] for family in _FAMILIES for p in family.PRIMITIVES}
)
"""The family of every primitive that ships: the name of its file."""

__all__ = ["FAMILIES", "PRIMITIVES", "Parameter", "Primitive", "PrimitiveError", "PrimitiveTable"]
