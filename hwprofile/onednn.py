"""What this machine's CPU has oneDNN serve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch

_BATCH, _ELEMENTS = 16, 20480
"""Batch below which torch keeps filters of one tap, and elements up to which it keeps an image."""


@cache
def served(scheme: str) -> bool:
    """Whether oneDNN convolves and multiplies in a scheme here: 16 bits need AVX-512 or newer.

    Args:
        scheme: `fp32`, `bf16` or `fp16`.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if scheme == "bf16":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if scheme == "fp16":
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return True


def convolves(
    scheme: str, *, image: Sequence[int], kernel: Sequence[int], groups: int, spaced: bool
) -> bool:
    """Whether torch gives a convolution to oneDNN here, with this process's number of threads.

    In 32 bits it keeps two kinds for itself: filters of one tap, for a batch below 16 on a single
    thread, and small single images without groups.

    Args:
        scheme: `fp32`, `bf16` or `fp16`.
        image: Sizes `[batch, channels, *space]`.
        kernel: Sizes of the filter, one a spatial dimension.
        groups: Groups of channels.
        spaced: Whether it is strided or dilated.
    """
    if not served(scheme):
        return False
    if scheme != "fp32":
        return True
    # Torch looks at the last two dimensions of a filter, and one in one dimension is a row.
    plane = (1, *kernel)[-2:]
    one_tap = not spaced and image[0] < _BATCH and max(plane) == 1
    if one_tap and torch.get_num_threads() == 1:
        return False
    return groups > 1 or min(plane) > 3 or image[0] > 1 or math.prod(image[:4]) > _ELEMENTS
