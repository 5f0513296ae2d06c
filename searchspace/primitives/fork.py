"""Forks: a tensor split, every part through a body of its own, the outcomes joined.

Dimension letters: B batch, C channels, H height, W width, N tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor, nn

from searchspace.primitives.base import Parameter, Primitive, Values
from searchspace.shapes import ShapeError, TensorSpec


def bounded(x: Tensor) -> Tensor:
    """Every sample scaled down so far that no element is above 10,000; others are left as they are.

    The gradient is that of the scaled sample, so it shrinks as much as the sample did.
    """
    factor = (x.flatten(1).abs().amax(1) / 1e4).clamp(min=1)
    return x / factor.view(-1, *[1] * (x.dim() - 1))


class Fork(nn.Module):
    """A tensor cloned or cut into as many parts as there are bodies; their outputs joined.

    Branching and aggregation of einspace (Ericsson et al., arXiv 2405.20838): clone or group, then
    addition, concatenation, or the matrix product of two outputs, divided by the square root of the
    length that is summed over where it is scaled. A fork binds the number of bodies on both sides;
    in the authors' code a split in two can meet a concatenation of four, which fails.

    Departure: products are bounded, see `bounded`. Products of products of activations grow doubly
    exponentially with the depth, and a few overflow. Ordinary values stay as they are.
    """

    def __init__(self, *bodies: nn.Module, split: str, join: str) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(bodies)
        self.split, self.join = split, join

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` or `[B, N, D]` to what the join makes of the bodies' outputs."""
        count = len(self.bodies)
        cut = self.split != "clone"
        parts = x.chunk(count, dim=int(self.split[-1])) if cut else (x,) * count
        outs = [body(part) for body, part in zip(self.bodies, parts, strict=True)]
        y: Tensor = outs[0]
        if self.join.startswith("concat"):
            y = torch.cat(outs, dim=int(self.join[-1]))
        elif self.join == "add":
            for out in outs[1:]:
                y = y + out
        else:
            scale = 1 / sqrt(y.shape[-1]) if self.join == "scaled_dot" else 1.0
            y = bounded(torch.matmul(y, outs[1]) * scale)
        return y.contiguous(memory_format=torch.channels_last) if y.dim() == 4 else y


def _count(values: Values) -> int:
    return int(values.get("copies", 2))


def _axis(word: str, spec: TensorSpec, whole: TensorSpec) -> int:
    """Index into the shape of the dimension that a word ends in, which counts from the batch on."""
    axis = int(word[-1]) - 1
    if axis >= len(spec.shape):
        raise ShapeError(f"{word} needs a tensor of {axis + 1} dimensions, not {spec}; got {whole}")
    return axis


def _sized(spec: TensorSpec, axis: int, size: int) -> TensorSpec:
    return TensorSpec(spec.mode, (*spec.shape[:axis], size, *spec.shape[axis + 1 :]))


def _part(spec: TensorSpec, values: Values) -> TensorSpec:
    split, count = str(values["split"]), _count(values)
    if split == "clone":
        return spec
    axis = _axis(split, spec, spec)
    if spec.shape[axis] % count:
        raise ShapeError(
            f"{split} needs a multiple of {count} along dimension {axis + 1}; got {spec}"
        )
    return _sized(spec, axis, spec.shape[axis] // count)


def _joined(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    join, first, last = str(values["join"]), inner[0], inner[-1]
    if join == "add":
        if last != first:
            raise _misfit("add needs bodies that give one shape", inner, spec)
        return first
    if join.startswith("concat"):
        axis = _axis(join, first, spec)
        if last.mode != first.mode or _sized(last, axis, first.shape[axis]) != first:
            raise _misfit(f"{join} needs bodies that differ there alone", inner, spec)
        total = first.shape[axis] * _count(values)
        if len(inner) > 1:
            total = first.shape[axis] + last.shape[axis]
        return _sized(first, axis, total)
    if first.mode == "vector" or last.mode != first.mode:
        raise _misfit(f"{join} needs bodies that give two images, or tokens twice", inner, spec)
    if (*first.shape[:-2], first.shape[-1]) != last.shape[:-1]:
        need = "a first body as wide as the second is high, in as many channels"
        raise _misfit(f"{join} needs {need}", inner, spec)
    return _sized(first, len(first.shape) - 1, last.shape[-1])


def _misfit(need: str, inner: Sequence[TensorSpec], spec: TensorSpec) -> ShapeError:
    return ShapeError(need, "; the bodies make ", inner[0], " and ", inner[-1], " of ", spec)


_SPLIT = Parameter(name="split", words=("clone", "group1", "group2", "group3"))
_CONCAT = ("concat1", "concat2", "concat3")

PRIMITIVES = (
    Primitive(
        name="fork",
        summary="split in two, two bodies, joined (einspace, arXiv 2405.20838)",
        module=Fork,
        parameters=(_SPLIT, Parameter(name="join", words=("add", "dot", "scaled_dot", *_CONCAT))),
        arguments=lambda spec, v: {"split": v["split"], "join": v["join"]},
        groups=2,
        inside=_part,
        result=_joined,
        needs=(bounded,),
    ),
    Primitive(
        name="fork_copies",
        summary="split in 4 or 8, a copy of one body for each, joined (einspace, arXiv 2405.20838)",
        module=Fork,
        parameters=(
            Parameter(name="copies", choices=(4, 8)),
            _SPLIT,
            Parameter(name="join", words=("add", *_CONCAT)),
        ),
        arguments=lambda spec, v: {"split": v["split"], "join": v["join"]},
        groups=1,
        inside=_part,
        copies=_count,
        result=_joined,
        needs=(bounded,),
    ),
)
