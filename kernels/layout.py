"""How an image lies in memory: the two layouts that the kernels read without a copy."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_image(x: Tensor) -> tuple[Tensor, bool]:
    """Return `[B, C, H, W]` without gaps, copied only if it must be, and whether channels-last.

    Where both layouts are the same memory, the longer of the two dimensions counts as the inner.
    """
    last = x.is_contiguous(memory_format=torch.channels_last)
    if x.is_contiguous():
        return x, last and x.shape[2] * x.shape[3] == 1
    return (x, True) if last else (x.contiguous(), False)


def empty_image(x: Tensor, height: int, width: int, channels_last: bool) -> Tensor:
    """Return an unset image with the batch, channels, dtype and device of `x`, in a layout."""
    return torch.empty(
        (*x.shape[:2], height, width),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )


def lay_image(x: Tensor, channels_last: bool) -> Tensor:
    """Return `x` without gaps in a layout, copied only if it must be."""
    return x.contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )
