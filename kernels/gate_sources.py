"""What would be compiled for the channel gates of a given shape, for `kernels.aot`."""

from __future__ import annotations

import math

import torch

from kernels.aot import KernelSource, specialise
from kernels.gate_blocks import (
    MOST_HIDDEN,
    MOST_TAPS,
    ONE_LAUNCH_VALUES,
    blocks_for,
    excite_constants,
    scale_constants,
)
from kernels.gate_triton import scale_kernel, squeeze_excite_kernel


def squeeze_excite_sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    reduction: int = 4,
    activation: str = "relu",
    channels_last: bool = True,
) -> dict[str, KernelSource]:
    """Say what would be compiled for a squeeze-excite.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of all tensors.
        shape: `[B, C, H, W]`, whatever the layout.
        reduction: Channels to one hidden value, of which there are 8 at least.
        activation: Between the two layers.
        channels_last: Whether memory is channels-last.

    Returns:
        The source of `forward` for a small image; else those of `gates` and `scale`, which come
        behind the first launch of a global pool.
    """
    batch, channels, height, width = shape
    hidden = max(8, channels // reduction)
    if hidden > MOST_HIDDEN:
        raise ValueError(f"at most {MOST_HIDDEN} hidden values are served; {shape} has {hidden}")
    small = channels * height * width <= ONE_LAUNCH_VALUES
    last = channels_last or not small
    blocks = blocks_for("excite", capability, last, hidden)
    excite = specialise(
        squeeze_excite_kernel,
        constants=excite_constants(
            hidden=hidden, activation=activation, scales=small, channels_last=last, blocks=blocks
        ),
        dtype=dtype,
        pointers={} if small else {"x_ptr": torch.float32, "y_ptr": torch.float32},
        multiples_of_16=_multiples(channels, height * width if small else 1, hidden),
        warps=blocks.warps,
        programs=batch,
    )
    if small:
        return {"forward": excite}
    return {"gates": excite, "scale": _scale(capability, dtype, shape, channels_last, taps=0)}


def eca_sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    channels_last: bool = True,
) -> dict[str, KernelSource]:
    """Say what would be compiled for an ECA whose kernel has the size of its paper.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of all tensors.
        shape: `[B, C, H, W]`, whatever the layout.
        channels_last: Whether memory is channels-last.

    Returns:
        The source of `scale`, which comes behind a global pool.
    """
    # Wang et al. (arXiv 1910.03151), equation 12.
    size = int(abs((math.log2(shape[1]) + 1) / 2))
    taps = min(MOST_TAPS, size + 1 - size % 2)
    return {"scale": _scale(capability, dtype, shape, channels_last, taps=taps)}


def _scale(
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    channels_last: bool,
    *,
    taps: int,
) -> KernelSource:
    batch, channels, height, width = shape
    pixels = height * width
    blocks = blocks_for("scale", capability, channels_last)
    tiles = -(-channels // blocks.channels) * -(-pixels // blocks.pixels)
    return specialise(
        scale_kernel,
        constants=scale_constants(taps=taps, channels_last=channels_last, blocks=blocks),
        dtype=dtype,
        pointers={"gate_ptr": torch.float32} | ({} if taps else {"weight_ptr": torch.float32}),
        multiples_of_16=_multiples(channels, pixels, 1),
        warps=blocks.warps,
        programs=batch * tiles,
    )


def _multiples(channels: int, pixels: int, hidden: int) -> list[str]:
    """Name the run-time integers that are multiples of 16."""
    sizes = {"channels": channels, "pixels": pixels, "hidden": hidden}
    return [name for name, size in sizes.items() if size % 16 == 0]
