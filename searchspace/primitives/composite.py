"""Primitives that hold sequences: what wraps what, and what joins what."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import torch
from torch import Tensor, nn

from searchspace.primitives.base import ANY, SEVERAL, Parameter, Primitive, Values
from searchspace.shapes import ShapeError, TensorSpec


class Residual(nn.Module):
    """The input added to what the body makes of it (He et al., arXiv 1512.03385)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that the body keeps."""
        y: Tensor = x + self.body(x)
        return y


class Branch(nn.Module):
    """Several bodies on the same input, their outputs added, multiplied or concatenated.

    The split-transform-merge of Inception (Szegedy et al., arXiv 1409.4842) and of ResNeXt (Xie et
    al., arXiv 1611.05431); with `multiply`, a gate.
    """

    def __init__(self, *bodies: nn.Module, join: str) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(bodies)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to that of the bodies; `concat` adds their channels up."""
        parts = [body(x) for body in self.bodies]
        if self.join == "concat":
            return torch.cat(parts, dim=-1 if parts[0].dim() == 3 else 1)
        y: Tensor = parts[0]
        for part in parts[1:]:
            y = y + part if self.join == "add" else y * part
        return y


class Dag(nn.Module):
    """Nodes in a row, a body on the edge between each two; a node sums what its edges bring.

    The cell of DARTS (Liu et al., arXiv 1806.09055, equation 1) and NAS-Bench-201 (Dong & Yang,
    arXiv 2001.00326): x_j = Σ_{i<j} body_ij(x_i), x_0 the input, the last node the output.
    """

    def __init__(self, *bodies: nn.Module) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(bodies)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that the bodies keep; they come by their end, then by their start."""
        nodes, edges = [x], iter(self.bodies)
        for body in edges:
            y: Tensor = body(x)
            for node in nodes[1:]:
                y = y + next(edges)(node)
            nodes.append(y)
        return nodes[-1]


def _kept(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if inner[0] != spec:
        raise ShapeError(f"the body of residual must keep its shape {spec}; it gives {inner[0]}")
    return spec


def _joined(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    first = inner[0]
    if values["join"] != "concat":
        if any(other != first for other in inner):
            given = ", ".join(map(str, inner))
            raise ShapeError(f"branches that are joined must give one shape; they give {given}")
        return first
    # Concatenation joins tensors that differ in their channels alone, so not vectors with images.
    if any(other.with_channels(first.channels) != first for other in inner):
        given = ", ".join(map(str, inner))
        raise ShapeError(
            f"branches that are concatenated must agree in all but channels; they give {given}"
        )
    return first.with_channels(sum(other.channels for other in inner))


def _summed(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    count = len(inner)
    # n nodes after the input have n(n + 1) / 2 edges: 8 times that and one is a square.
    if isqrt(8 * count + 1) ** 2 != 8 * count + 1:
        raise ShapeError(f"dag needs 1, 3, 6, 10, … bodies, all edges of its nodes; got {count}")
    for out in inner:
        if out != spec:
            raise ShapeError(f"the bodies of dag must keep its shape {spec}; one gives {out}")
    return spec


PRIMITIVES = (
    Primitive(
        name="residual",
        summary="the input added to the body's output (ResNet, arXiv 1512.03385)",
        module=Residual,
        arguments=lambda spec, v: {},
        groups=1,
        result=_kept,
    ),
    Primitive(
        name="branch",
        summary="bodies on the same input, joined (Inception, arXiv 1409.4842)",
        module=Branch,
        parameters=(Parameter(name="join", words=("add", "concat", "multiply")),),
        arguments=lambda spec, v: {"join": v["join"]},
        groups=SEVERAL,
        result=_joined,
    ),
    Primitive(
        name="dag",
        summary="nodes in a row, a body between each two (NAS-Bench-201, arXiv 2001.00326)",
        module=Dag,
        arguments=lambda spec, v: {},
        groups=ANY,
        result=_summed,
    ),
)
