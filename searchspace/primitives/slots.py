"""Soft clustering of pixels: a few slots stand for the image while they are mixed.

Dimension letters: B batch, C channels, H height, W width, N pixels, M slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.primitives.tokens import token_spec
from searchspace.shapes import ShapeError, TensorSpec


class SoftSlots(nn.Module):
    """Pixels grouped into slots, the slots through the body, and back to the pixels.

    Zhu et al., GLMix (arXiv 2411.14429), section 3.2: slots start as the means of `side` x `side`
    regions; with the cosines of slots and pixels, times a learned scale, as logits a slot becomes
    the soft-max mean of the pixels, and a pixel that of the new slots. Departure: slots start from
    the normed input, if a norm comes before; in the authors' code from what enters the norm.
    """

    def __init__(self, body: nn.Module, channels: int, side: int) -> None:
        super().__init__()
        self.body, self.side = body, side
        self.scale = nn.Parameter(torch.tensor(channels**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape, or to the features that the body makes of C."""
        pixels = x.flatten(2).transpose(1, 2)
        slots = F.adaptive_avg_pool2d(x, self.side).flatten(2).transpose(1, 2)
        cosines = torch.matmul(F.normalize(slots, dim=-1), F.normalize(pixels, dim=-1).mT)
        logits = self.scale * cosines
        slots = self.body(torch.matmul(logits.softmax(-1), pixels))
        y = torch.matmul(logits.mT.softmax(-1), slots)
        return torch.unflatten(y, 1, x.shape[2:]).permute(0, 3, 1, 2)


def _inside(spec: TensorSpec, values: Values) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"soft_slots needs an image; got {spec}")
    return token_spec(int(values["side"]) ** 2, spec.channels)


def _dispatched(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    slots = _inside(spec, values)
    if inner[0].mode != "tokens" or inner[0].shape[0] != slots.shape[0]:
        raise ShapeError(
            f"the body of soft_slots must keep the number of its slots, {slots.shape[0]}; it makes "
            f"{inner[0]} where {spec} comes in"
        )
    return spec.with_channels(inner[0].channels)


def _arguments(spec: TensorSpec, values: Values) -> Arguments:
    return {"channels": spec.channels, "side": values["side"]}


PRIMITIVES = (
    Primitive(
        name="soft_slots",
        summary="pixels grouped softly into slots, mixed there, and back (GLMix, arXiv 2411.14429)",
        module=SoftSlots,
        parameters=(Parameter(name="side"),),
        arguments=_arguments,
        groups=1,
        inside=_inside,
        result=_dispatched,
    ),
)
