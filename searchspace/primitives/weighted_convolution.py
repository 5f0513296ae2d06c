"""Convolution whose kernel is weighted by a density that is learned.

Dimension letters: B batch, C channels that enter, O channels that leave, H height, W width,
k kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Parameter, Primitive, Values
from searchspace.primitives.dense_convolution import dense_conv
from searchspace.shapes import ShapeError, TensorSpec, image, strided


class WeightedConv(nn.Module):
    """Dense convolution with the kernel W ⊙ (α αᵀ), α a symmetric density that is 1 in the middle.

    Cammarasana & Patanè, optimal weighted convolution (arXiv 2505.24558; 2505.24527 has the
    density): what a neighbour counts depends on its distance from the centre. α has ⌊k / 2⌋ free
    values, kept from the centre outward, that all filters of the layer share. Learned with the
    weights, as in the trainable variant of the authors' code; in the papers a global optimiser
    finds them. They start at 1, where the layer is a plain convolution. No bias.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int, merged: bool = False
    ) -> None:
        super().__init__()
        self.conv = dense_conv(channels, out, kernel, stride=stride)
        self.density = None if merged else nn.Parameter(torch.ones(kernel // 2))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, O, ceil(H / stride), ceil(W / stride)]`."""
        conv = self.conv
        return F.conv2d(x, self.weight(), stride=conv.stride, padding=conv.padding)

    def weight(self) -> Tensor:
        """The kernel that is convolved with, `[O, C, k, k]`."""
        if self.density is None:
            return self.conv.weight
        line = torch.cat((self.density.flip(0), torch.ones_like(self.density[:1]), self.density))
        return self.conv.weight * (line[:, None] * line)

    @torch.no_grad()
    def merge(self) -> None:
        """Multiply the density into the weights."""
        self.conv.weight.copy_(self.weight())
        self.density = None


def _strided(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"weighted_conv needs an image; got {spec}")
    stride = int(values["stride"])
    return image(int(values["out"]), *(strided(size, stride) for size in spec.shape[1:]))


PRIMITIVES = (
    Primitive(
        name="weighted_conv",
        summary="dense convolution, its kernel weighted by a density (arXiv 2505.24558)",
        module=WeightedConv,
        parameters=(
            Parameter(name="out"),
            Parameter(name="kernel", least=3, odd=True),
            Parameter(name="stride"),
        ),
        arguments=lambda spec, v: {"channels": spec.channels, **v},
        result=_strided,
        merged=("merged",),
        needs=(dense_conv,),
    ),
)
