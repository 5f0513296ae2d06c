"""What would be compiled for a long convolution of a given shape, for `kernels.aot`."""

from __future__ import annotations

import torch

from kernels.aot import KernelSource, specialise
from kernels.long_conv_blocks import (
    MOST_SIZE,
    PROGRAMS,
    STAGES,
    blocks_for,
    long_conv_constants,
    transform_size,
)
from kernels.long_conv_triton import long_conv_kernel


def sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    causal: bool = False,
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape with a kernel of twice its length and a bias.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16.
        shape: `[B, C, L]`.
        causal: Whether outputs see earlier inputs only.

    Returns:
        The source of `forward`; that of the input's gradient differs by two signs.
    """
    batch, channels, length = shape
    size = transform_size(length, 2 * length, causal=causal)
    half = dtype != torch.float32
    most = MOST_SIZE["half" if half else "float"]
    if size > most:
        raise ValueError(f"transforms of at most {most} are served; {shape} takes {size}")
    blocks = blocks_for(capability, half, size)
    pairs = -(-batch // 2)
    per_program = -(-pairs // -(-PROGRAMS // channels))
    sizes = {"channels": channels, "length": length}
    return {
        "forward": specialise(
            long_conv_kernel,
            constants=long_conv_constants(half=half, has_bias=True, conjugate=False, blocks=blocks),
            dtype=dtype,
            pointers={"spectrum_ptr": torch.float32, "tables_ptr": torch.float32},
            multiples_of_16=[name for name, value in sizes.items() if value % 16 == 0],
            warps=blocks.warps,
            stages=STAGES,
            programs=channels * -(-pairs // per_program),
        )
    }
