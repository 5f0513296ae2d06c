"""Primitives that hold sequences: what wraps what."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from searchspace.primitives.base import Primitive, Values
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


def _kept(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if inner[0] != spec:
        raise ShapeError(f"the body of residual must keep its shape {spec}; it gives {inner[0]}")
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
)
