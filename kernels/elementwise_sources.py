"""What would be compiled for an element-wise chain or a batch norm, for `kernels.aot`."""

from __future__ import annotations

import math

import torch

from kernels.aot import KernelSource, specialise
from kernels.elementwise_blocks import blocks_for, elementwise_constants
from kernels.elementwise_triton import elementwise_kernel


def sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    normalise: bool = False,
    activation: str = "none",
    residual: str = "none",
    channels_last: bool = True,
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape: with a bias, and for batch norm with a weight.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of all tensors.
        shape: `[B, C, *]`, whatever the layout.
        normalise: Whether this is a batch norm.
        activation: The fused activation.
        residual: `none`, `first` (before the activation) or `last`.
        channels_last: Whether memory is channels-last.

    Returns:
        The source of `forward`.
    """
    if len(shape) < 2 or residual not in ("none", "first", "last"):
        raise ValueError(
            "shape must have two sizes or more and residual be none, first or last; got "
            f"{shape} and {residual!r}"
        )
    columns = shape[1] if channels_last else math.prod(shape[2:])
    rows = math.prod(shape) // columns
    blocks = blocks_for(capability, columns)
    constants = elementwise_constants(
        channels_last=channels_last,
        normalise=normalise,
        has_weight=normalise,
        has_bias=True,
        residual=residual,
        activation=activation,
        blocks=blocks,
    )
    return {
        "forward": specialise(
            elementwise_kernel,
            constants=constants,
            dtype=dtype,
            pointers={},
            multiples_of_16=() if columns % 16 else ("columns",),
            warps=blocks.warps,
            programs=-(-rows // blocks.rows) * -(-columns // blocks.columns),
            floats=("eps",),
        )
    }
