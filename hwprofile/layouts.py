"""How a call's tensors lie in memory, and the fields of a kernel that tell it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypedDict

from hwprofile.meta_shapes import spread
from hwprofile.record import OpCall, Shape
from hwprofile.strides import seems_channels_last


class Told(TypedDict):
    """The fields of `hwprofile.kernel.Kernel` that CPU runtimes set."""

    ops: tuple[str, ...]
    layout: str
    shape: Shape
    dilation: int
    padding: int
    strided: bool


def told(call: OpCall, ops: Sequence[str], shape: Shape = ()) -> Told:
    """What a call tells of the kernel that it gives its family.

    Args:
        call: The call.
        ops: Operations that the kernel performs.
        shape: Sizes of the main tensor read, where it is not the call's first.
    """
    if not shape:
        read = [operand.shape for operand in call.operands] or [call.output_shapes[0]]
        # A scale may stand before what it multiplies.
        shape = next((sizes for sizes in read if len(sizes) > 1), read[0])
    strides = call.input_strides[0] if call.input_strides else ()
    return Told(
        ops=tuple(ops),
        layout=layout_of(shape, strides) if len(shape) == len(strides) else "",
        shape=shape,
        dilation=max(spread(call.attrs.get("dilation", 1), 2)),
        padding=max(spread(call.attrs.get("padding", 0), 2), default=0),
        strided=is_strided(call),
    )


def is_row_major(shape: Shape, strides: Shape) -> bool:
    """Whether a tensor is contiguous: its last dimension the densest, without gaps."""
    step = 1
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and stride != step:
            return False
        step *= n
    return True


def layout_of(shape: Shape, strides: Shape) -> str:
    """`nchw`, `nhwc`, or nothing for what is no image or has gaps."""
    if len(shape) != 4:
        return ""
    if is_row_major(shape, strides):
        return "nchw"
    order = (0, 2, 3, 1)
    last = is_row_major(tuple(shape[d] for d in order), tuple(strides[d] for d in order))
    return "nhwc" if last else ""


def seems_contiguous(shape: Shape, strides: Shape) -> bool:
    """Whether a tensor has no gaps in the order that torch takes it to have."""
    if not seems_channels_last(shape, strides):
        return is_row_major(shape, strides)
    order = (0, 2, 3, 1)
    return is_row_major(tuple(shape[d] for d in order), tuple(strides[d] for d in order))


def merges(shape: Shape, strides: Shape) -> bool:
    """Whether dimensions can be seen as one, which then has a single stride."""
    kept = [(n, stride) for n, stride in zip(shape, strides, strict=True) if n != 1]
    pairs = pairwise(kept)
    return all(outer == n * inner for (_, outer), (n, inner) in pairs)


def is_strided(call: OpCall) -> bool:
    """Whether some operand as large as the result lies in another order than it."""
    out = call.output_strides[0] if call.output_strides else ()
    return any(
        len(strides) == len(out) and _order(shape, strides) != _order(shape, out)
        for shape, strides in zip(call.input_shapes, call.input_strides, strict=True)
        if shape == call.output_shapes[0]
    )


def _order(shape: Shape, strides: Shape) -> list[int]:
    return sorted([d for d, n in enumerate(shape) if n != 1], key=lambda d: (-strides[d], d))
