"""What would be compiled for a layer norm or an RMS norm, for `kernels.aot`."""

from __future__ import annotations

import math

import torch

from kernels.aot import KernelSource, specialise
from kernels.norm_blocks import MOST_COLUMNS, backward_constants, blocks_for, forward_constants
from kernels.norm_triton import norm_backward_kernel, norm_forward_kernel

_FLOAT32 = dict.fromkeys(
    ("mean_ptr", "scale_ptr", "weight_partial_ptr", "bias_partial_ptr"), torch.float32
)


def sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    rms: bool = False,
    activation: str = "none",
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape: with a weight, and with a bias unless RMS.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of all tensors.
        shape: `[*, C]`, channels last.
        rms: Whether this is an RMS norm.
        activation: The fused activation of the forward kernel.

    Returns:
        The sources of `forward`, which saves nothing, and `backward`.
    """
    columns = shape[-1]
    if not 1 <= columns <= MOST_COLUMNS:
        raise ValueError(f"shape must end in 1 to {MOST_COLUMNS} channels; got {shape}")
    rows = math.prod(shape[:-1])
    forward = blocks_for("forward", capability, columns)
    backward = blocks_for("backward", capability, columns)
    multiples = () if columns % 16 else ("columns",)
    return {
        "forward": specialise(
            norm_forward_kernel,
            constants=forward_constants(
                rms=rms,
                has_weight=True,
                has_bias=not rms,
                save=False,
                activation=activation,
                blocks=forward,
            ),
            dtype=dtype,
            pointers=_FLOAT32,
            multiples_of_16=multiples,
            warps=forward.warps,
            programs=-(-rows // forward.rows),
            floats=("eps",),
        ),
        "backward": specialise(
            norm_backward_kernel,
            constants=backward_constants(
                rms=rms, has_weight=True, weight_grad=True, bias_grad=not rms, blocks=backward
            ),
            dtype=dtype,
            pointers=_FLOAT32,
            multiples_of_16=multiples,
            warps=backward.warps,
        ),
    }
