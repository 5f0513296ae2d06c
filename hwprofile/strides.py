"""In which order eager PyTorch lays out what it computes on a CPU, from sizes and strides."""

from __future__ import annotations

from collections.abc import Sequence

Sizes = Sequence[int]


def seems_channels_last(shape: Sizes, strides: Sizes) -> bool:
    """Whether torch takes a tensor for channels-last images: its suggested memory format.

    Gaps do not matter, but the stride of a single image does: a view of `[1, H·W, C]` as an image
    counts as row-major, so that a convolution copies it.
    """
    if len(shape) != 4 or 0 in shape or strides[1] == 0:
        return False
    least = 0
    for d in (1, 3, 2, 0):
        if strides[d] < least or (d == 0 and least == strides[1]):
            return False
        least = strides[d] * max(shape[d], 1)
    return True


def dense_strides(shape: Sizes, *operands: Sizes) -> tuple[int, ...]:
    """Strides of an elementwise result, without gaps, its dimensions in the order of the operands'.

    The first operand that tells two dimensions apart decides; one that is spread along either does
    not. Torch's iterator sorts so, dimension by dimension from the last.

    Args:
        shape: Sizes of the result.
        operands: Strides of each operand as large as the result, 0 where it is spread.
    """
    order = list(range(len(shape)))[::-1]
    for place in range(1, len(order)):
        at = place
        for before in range(place - 1, -1, -1):
            compared = _compared(shape, operands, order[before], order[at])
            if compared < 0:
                break
            if compared > 0:
                order[before], order[at] = order[at], order[before]
                at = before
    strides, step = [0] * len(order), 1
    for d in order:
        strides[d], step = step, step * max(shape[d], 1)
    return tuple(strides)


def _compared(shape: Sizes, operands: Sequence[Sizes], inner: int, outer: int) -> int:
    """Above 0 where `inner` must lie outside `outer`, below where not, 0 where nothing tells."""
    for strides in operands:
        a, b = strides[inner], strides[outer]
        if a == 0 or b == 0:
            continue
        if a != b:
            return 1 if a > b else -1
        if shape[inner] > shape[outer]:
            return 1
    return 0


def fits_fused_attention(
    query: Sizes, key: Sizes, value: Sizes, last_strides: Sizes, mask: Sizes | None, trained: bool
) -> bool:
    """Whether torch's attention in one kernel on a CPU serves these operands.

    Args:
        query: Sizes; it serves `[B, heads, rows, E]`.
        key: Sizes, the same but for rows.
        value: Sizes, as the key's.
        last_strides: Stride of the last dimension of every operand, the mask included.
        mask: Sizes of a mask or bias: two dimensions or four.
        trained: Whether the mask takes gradients.
    """
    if {len(query), len(key), len(value)} != {4} or any(stride != 1 for stride in last_strides):
        return False
    if not query[0] == key[0] == value[0] or not query[3] == key[3] == value[3]:
        return False
    if not query[1] == key[1] == value[1] or 0 in (query[2], key[2]):
        return False
    if mask is None:
        return True
    if trained or len(mask) not in (2, 4):
        return False
    whole = (*query[:2], query[2], key[2])[-len(mask) :]
    return all(n in (1, full) for n, full in zip(mask, whole, strict=True))
