"""What a kernel's time on a CPU is explained by: terms of a sum, and sizes in logarithms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hwprofile.kernel import Kernel

Array = NDArray[np.float64]
Key = tuple[str, ...]

_CACHES = (5e5, 8e6)
"""Bytes beyond which a launch is charged more for each: sizes of private and of shared caches, as a
kink in a fitted line needs them."""
_FAR = 4
"""Padding beyond which depthwise convolutions are other code: with AVX2, in torch 2.13, one of 96
channels at 28 x 28 takes 0.3 ms with a kernel of 9 x 9 and 4 rows on each side, 6 ms with 5."""
_BY_LAYOUT = frozenset({"conv2d", "depthwise_conv2d", "pool", "convolution", "batch_norm"})
"""Families and operations that other code does where images are channels-last."""
_LAYOUTS = {"": 0.0, "nchw": 0.0, "nhwc": 1.0}


def keys(kernel: Kernel) -> Iterator[Key]:
    """Kinds that a kernel belongs to, the narrowest first; the last holds every kernel."""
    name = kernel.ops[0] if kernel.ops else ""
    family = "grouped_conv2d" if kernel.op == "conv2d" and kernel.groups > 1 else kernel.op
    if kernel.op == "depthwise_conv2d" and kernel.padding > _FAR:
        family = "far_depthwise_conv2d"
    layout = kernel.layout if kernel.op in _BY_LAYOUT or name in _BY_LAYOUT else ""
    order = "strided" if kernel.strided else ""
    yield family, name, layout, order
    yield family, name, layout
    yield family, name
    yield (family,)
    if family != kernel.op:
        yield (kernel.op,)
    yield ()


def terms(kernels: Sequence[Kernel]) -> Array:
    """Quantities that a time is a sum of, each times a rate that is not negative: `[kernels, 8]`.

    One launch, operations, bytes read, written and of weights, bytes beyond either cache, and what
    is unfolded for a convolution or product.
    """
    rows = []
    for k in kernels:
        moved = k.read_bytes + k.weight_bytes + k.write_bytes
        unfolded = k.m * k.k * k.groups
        beyond = [max(0.0, moved - size) for size in _CACHES]
        rows.append(
            [1.0, k.flops, k.read_bytes, k.write_bytes, k.weight_bytes, *beyond, float(unfolded)]
        )
    return np.array(rows, dtype=float).reshape(-1, 8)


def sizes(kernels: Sequence[Kernel]) -> Array:
    """Sizes in base-2 logarithms and flags, for what the terms leave unexplained."""
    return np.array([_sizes(k) for k in kernels], dtype=float).reshape(len(kernels), -1)


def _sizes(k: Kernel) -> list[float]:
    shape = k.shape
    moved = k.read_bytes + k.weight_bytes + k.write_bytes
    last, before = (shape[-1], shape[-2] if len(shape) > 1 else 1) if shape else (1, 1)
    depth = k.k // max(1, k.taps)
    logs = (k.m, k.n, k.k, k.groups, k.taps, depth, k.flops, moved, k.weight_bytes, k.write_bytes)
    return [
        *(math.log2(1 + x) for x in (*logs, k.padding, last, before, shape[0] if shape else 1)),
        float(k.stride),
        # Vectors and blocks of channels are of 8 and 16 elements.
        *(float(x % 8 == 0) for x in (k.n, depth, last)),
        float(k.n % 16 == 0),
        _LAYOUTS.get(k.layout, 0.0),
        float(k.strided),
    ]
