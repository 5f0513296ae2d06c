"""What would be compiled for the pools of a given shape, for `kernels.aot`."""

from __future__ import annotations

from typing import Any

import torch

from kernels.aot import KernelSource, specialise
from kernels.global_pool_triton import gem_backward_kernel, global_pool_kernel
from kernels.pool_blocks import Blocks, Constants, blocks_for, global_constants, splits_for
from kernels.pool_triton import Window, pool_backward_kernel, pool_forward_kernel


def window_sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    maximum: bool,
    kernel: int = 3,
    stride: int = 2,
    padding: int = 1,
    channels_last: bool = True,
) -> dict[str, KernelSource]:
    """Say what would be compiled for a max pool, or an average that leaves padding out.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16.
        shape: `[B, C, H, W]` of the input, whatever the layout.
        maximum: Whether this is a max pool.
        kernel: Side of a window, in pixels.
        stride: Step between windows, in pixels.
        padding: Rows and columns outside on every side.
        channels_last: Whether memory is channels-last.

    Returns:
        The sources of `forward`, which saves nothing, and `backward`.
    """
    batch, channels, height, width = shape
    window = Window(
        maximum=maximum, kernel=kernel, stride=stride, padding=padding, count_include_pad=False
    )
    pixels_out = window.outputs(height) * window.outputs(width)
    if pixels_out < 1:
        raise ValueError(f"a window of {kernel} must fit into the map; got {shape}")
    forward = blocks_for("window", capability, channels_last, channels, pixels_out)
    backward = blocks_for("window", capability, channels_last, channels, height * width)

    def source(function: Any, constants: Constants, pixels: int, blocks: Blocks) -> KernelSource:
        return specialise(
            function,
            constants=constants,
            dtype=dtype,
            pointers={"tap_ptr": torch.int16 if function is pool_backward_kernel else dtype},
            multiples_of_16=_multiples(channels, pixels_out, height * width),
            warps=blocks.warps,
            programs=batch * -(-channels // blocks.channels) * -(-pixels // blocks.pixels),
        )

    return {
        "forward": source(
            pool_forward_kernel,
            window.constants(channels_last, forward) | {"SAVE_TAP": False},
            pixels_out,
            forward,
        ),
        "backward": source(
            pool_backward_kernel,
            window.constants(channels_last, backward),
            height * width,
            backward,
        ),
    }


def global_sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    generalised: bool,
    channels_last: bool = True,
) -> dict[str, KernelSource]:
    """Say what would be compiled for a global pool.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16.
        shape: `[B, C, H, W]`, whatever the layout.
        generalised: Whether this is the generalised mean; else the mean.
        channels_last: Whether memory is channels-last.

    Returns:
        The source of `forward`, or of `parts` and `forward`, which adds them up; for the
        generalised mean also that of `backward`.
    """
    batch, channels, height, width = shape
    pixels = height * width
    blocks = blocks_for("global", capability, channels_last, channels, pixels)
    splits, _ = splits_for(batch, channels, pixels, blocks)
    tiles = batch * -(-channels // blocks.channels)
    finish = "root" if generalised else "mean"

    def pool(raised: bool, finish: str, last: bool, size: int, programs: int) -> KernelSource:
        chosen = blocks_for("global", capability, last, channels, size)
        return specialise(
            global_pool_kernel,
            constants=global_constants(
                raised=raised, finish=finish, save_log=False, channels_last=last, blocks=chosen
            ),
            dtype=torch.float32 if size != pixels else dtype,
            pointers={
                "y_ptr": torch.float32 if finish == "sum" else dtype,
                "log_ptr": torch.float32 if finish == "sum" else dtype,
                "exponent_ptr": dtype,
            },
            multiples_of_16=_multiples(channels, size, size),
            warps=chosen.warps,
            programs=programs,
            floats=("eps",),
        )

    if splits == 1:
        found = {"forward": pool(generalised, finish, channels_last, pixels, tiles)}
    else:
        found = {
            "parts": pool(generalised, "sum", channels_last, pixels, tiles * splits),
            "forward": pool(False, finish, True, splits, tiles),
        }
    if generalised:
        found["backward"] = specialise(
            gem_backward_kernel,
            constants={
                "CHANNELS_LAST": channels_last,
                "PIXELS": blocks.pixels,
                "CHANNELS": blocks.channels,
            },
            dtype=dtype,
            pointers={"factor_ptr": torch.float32},
            multiples_of_16=_multiples(channels, pixels, pixels),
            warps=blocks.warps,
            programs=tiles * -(-pixels // blocks.pixels),
            floats=("eps",),
        )
    return found


def _multiples(channels: int, pixels_out: int, pixels: int) -> list[str]:
    """Name the run-time integers that are multiples of 16."""
    sizes = {
        "channels": channels,
        "pixels": pixels,
        "x_batch_stride": channels * pixels,
        "y_batch_stride": channels * pixels_out,
        "grad_batch_stride": channels * pixels_out,
    }
    return [name for name, size in sizes.items() if size % 16 == 0]
