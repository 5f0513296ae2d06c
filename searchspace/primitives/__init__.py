"""The terminals of every grammar: one file a family, and here the one table of their names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from searchspace.primitives import (
    attention,
    channel,
    composite,
    convolution,
    dense_convolution,
    dynamic_convolution,
    norm,
    parameter_free,
    spectral,
    token_mixers,
    tokens,
)
from searchspace.primitives.base import Parameter, Primitive

PRIMITIVES: Mapping[str, Primitive] = MappingProxyType(
    {
        primitive.name: primitive
        for family in (
            composite,
            convolution,
            dense_convolution,
            dynamic_convolution,
            spectral,
            parameter_free,
            channel,
            norm,
            tokens,
            attention,
            token_mixers,
        )
        for primitive in family.PRIMITIVES
    }
)
"""Every primitive by its name in grammar files."""

__all__ = ["PRIMITIVES", "Parameter", "Primitive"]
