"""Inception depthwise convolution: the plain torch version, which is its meaning, and the backend.

Dimension letters: B batch, C channels, G channels of a branch, H height, W width, K size of the
square kernel, L length of the bands. The channels are, in this order: C - 3G that pass unchanged,
G under K x K, G under 1 x L, G under L x 1 (W. Yu et al., "InceptionNeXt", CVPR 2024, equation 4).
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from kernels.backend import (
    BACKENDS,
    check_like,
    check_name,
    chosen,
    describe,
    refusal,
)
from kernels.depthwise_conv import KERNEL_SIZES, depthwise_conv2d_plain

_SERVED = (
    "the Triton kernel serves non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1), at most 2^31 "
    "elements an image with its padding"
)


def inception_depthwise_conv2d(
    x: Tensor,
    square_weight: Tensor,
    row_weight: Tensor,
    column_weight: Tensor,
    square_bias: Tensor | None = None,
    row_bias: Tensor | None = None,
    column_bias: Tensor | None = None,
    *,
    backend: str = "auto",
) -> Tensor:
    """Convolve three groups of channels with a square and two bands, and pass the rest on.

    One launch on Triton, for channels-last and channels-first images where they are; other strides
    cost a copy. Sums are held in float32 and rounded once. Differentiable once in every tensor;
    the gradients are those of the plain version.

    Args:
        x: Input, `[B, C, H, W]`, C at least 3G.
        square_weight: `[G, 1, K, K]`, K odd, up to 31; dtype and device of `x`, as all others.
        row_weight: `[G, 1, 1, L]`, L odd, up to 31.
        column_weight: `[G, 1, L, 1]`.
        square_bias: `[G]`; None adds nothing.
        row_bias: `[G]`; None adds nothing.
        column_bias: `[G]`; None adds nothing.
        backend: `plain` is torch. `triton` insists on the Triton kernel. `auto` takes the kernel
            for CUDA tensors that it serves and torch for everything else.

    Returns:
        `[B, C, H, W]` in the dtype and layout of `x`.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    weights = {"square": square_weight, "row": row_weight, "column": column_weight}
    biases = {"square": square_bias, "row": row_bias, "column": column_bias}
    _check(x, weights, biases, backend)
    tensors = (square_weight, row_weight, column_weight, square_bias, row_bias, column_bias)
    module = chosen(
        backend,
        "kernels.inception_depthwise_triton",
        lambda found: _refusal(x, weights, found),
        _SERVED,
        {"x": x},
    )
    if module is not None:
        result: Tensor = module.inception_depthwise_triton(x, *tensors)
        return result
    return inception_depthwise_conv2d_plain(x, *tensors)


def inception_depthwise_conv2d_plain(
    x: Tensor,
    square_weight: Tensor,
    row_weight: Tensor,
    column_weight: Tensor,
    square_bias: Tensor | None = None,
    row_bias: Tensor | None = None,
    column_bias: Tensor | None = None,
) -> Tensor:
    """Say in plain torch what `inception_depthwise_conv2d` means; arguments unchecked."""
    group = square_weight.shape[0]
    same, square, row, column = torch.split(x, [x.shape[1] - 3 * group, *[group] * 3], dim=1)
    parts = (
        same,
        depthwise_conv2d_plain(square, square_weight, square_bias),
        depthwise_conv2d_plain(row, row_weight, row_bias),
        depthwise_conv2d_plain(column, column_weight, column_bias),
    )
    return torch.cat(parts, dim=1)


def _refusal(x: Tensor, weights: dict[str, Tensor], module: ModuleType | None) -> str | None:
    """Say why the Triton kernel cannot take these tensors; None if it can."""
    if reason := refusal(x, module):
        return reason
    # Offsets inside one image are 32-bit, those between images 64-bit. Blocks may overhang.
    reach = max(size for weight in weights.values() for size in weight.shape[2:]) + 256
    if (x.shape[2] + reach) * (x.shape[3] + reach) * x.shape[1] >= 2**31:
        return "an image of 2^31 or more elements"
    return None


def _check(
    x: Tensor, weights: dict[str, Tensor], biases: dict[str, Tensor | None], backend: str
) -> None:
    """Raise ValueError unless the arguments are as `inception_depthwise_conv2d` describes them."""
    check_name("backend", backend, BACKENDS)
    if x.dim() != 4 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(
            "x must be a floating-point [batch, channels, height, width] with at least one "
            f"channel, row and column; got {describe(x)}. A single image needs x[None]."
        )
    square, band = weights["square"], weights["row"]
    group = square.shape[0] if square.dim() == 4 else 0
    if not 0 < 3 * group <= x.shape[1]:
        raise ValueError(
            "square_weight must be [G, 1, K, K] with G from 1 to a third of the channels of x; "
            f"got {list(square.shape)} for x {list(x.shape)}"
        )
    size, length = square.shape[-1], band.shape[-1]
    wanted = {
        "square": [group, 1, size, size],
        "row": [group, 1, 1, length],
        "column": [group, 1, length, 1],
    }
    for name, weight in weights.items():
        if list(weight.shape) != wanted[name] or not {size, length} <= set(KERNEL_SIZES):
            raise ValueError(
                f"{name}_weight must be {wanted[name]}, with odd sizes up to {KERNEL_SIZES[-1]} "
                f"and one length for both bands; got {list(weight.shape)}"
            )
    for name, bias in biases.items():
        if bias is not None and bias.shape != (group,):
            raise ValueError(f"{name}_bias must be [{group}]; got {list(bias.shape)}")
    check_like(x, ((f"{name}_weight", weight) for name, weight in weights.items()))
    check_like(x, ((f"{name}_bias", bias) for name, bias in biases.items()))
