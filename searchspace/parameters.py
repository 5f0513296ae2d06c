"""Parameters of a tree's network, counted without making it: layer by layer on the meta device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import nn

from searchspace.build import flow, leaves, primitive_of
from searchspace.shapes import TensorSpec
from searchspace.tree import PRIMITIVE, Node, Value


def parameters(root: Node, spec: TensorSpec) -> int:
    """Number of parameters of the network in training form, for inputs of `spec`.

    Raises:
        ShapeError: a primitive does not serve the shape that reaches it.
    """
    return _in_row([root], spec)[0]


def _in_row(nodes: Sequence[Node], spec: TensorSpec) -> tuple[int, TensorSpec]:
    total = 0
    for node in (leaf for outer in nodes for leaf in leaves(outer)):
        primitive = primitive_of(node)
        named = primitive.named(node.values)
        if node.children:
            within = primitive.inside(spec, named)
            inner = sum(_in_row(group, within)[0] for group in node.children)
            total += primitive.copies(named) * inner
        bodies = len(node.children) * primitive.copies(named)
        total += own_parameters(node.symbol, node.values, spec, bodies)
        spec = flow(node, spec)
    return total, spec


@lru_cache(maxsize=4096)
def own_parameters(symbol: str, values: tuple[Value, ...], spec: TensorSpec, bodies: int) -> int:
    """Parameters of one primitive in training form; of a composite, without those of its bodies."""
    primitive = primitive_of(Node(symbol, PRIMITIVE, values))
    arguments = primitive.arguments(spec, primitive.named(values))
    with torch.device("meta"):
        module = primitive.module(*(nn.Identity() for _ in range(bodies)), **arguments)
    return sum(parameter.numel() for parameter in module.parameters())
