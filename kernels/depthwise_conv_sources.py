"""What would be compiled for a depthwise convolution of a given shape, for `kernels.aot`."""

from __future__ import annotations

from typing import Any

import torch

from kernels.aot import KernelSource, specialise
from kernels.depthwise_conv_blocks import (
    Blocks,
    Constants,
    blocks_for,
    fused_constants,
    gather_constants,
    weight_grad_constants,
)
from kernels.depthwise_conv_triton import (
    depthwise_forward_kernel,
    depthwise_input_grad_kernel,
    depthwise_weight_grad_kernel,
)


def sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    kernel: int,
    channels: int,
    width: int,
    stride: int = 1,
    dilation: int = 1,
    activation: str = "none",
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape, for `kernels.aot`: a bias, and no saved sums.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of input, weight and output.
        kernel: Kernel size in pixels.
        channels: Channels; a multiple of 16 allows vector loads.
        width: Columns of the input, in pixels.
        stride: Step between outputs, in pixels.
        dilation: Step between kernel taps, in pixels.
        activation: The fused activation of the forward kernel.

    Returns:
        The sources of `forward`, `input_grad` and `weight_grad`.
    """
    width_out = (width - 1) // stride + 1
    forward = blocks_for("gather", capability, kernel, width_out)
    backward = blocks_for("gather", capability, kernel, width)
    summing = blocks_for("weight_grad", capability, kernel, width_out)
    fused = fused_constants(activation, has_bias=True, save_pre=False)
    plans: dict[str, tuple[Any, Constants, Blocks]] = {
        "forward": (
            depthwise_forward_kernel,
            gather_constants(kernel, stride, dilation, forward) | fused,
            forward,
        ),
        "input_grad": (
            depthwise_input_grad_kernel,
            gather_constants(kernel, stride, dilation, backward),
            backward,
        ),
        "weight_grad": (
            depthwise_weight_grad_kernel,
            weight_grad_constants(kernel, stride, dilation, summing),
            summing,
        ),
    }
    # A whole line of 16 channels also aligns every image.
    strides = ("channels", "x_batch_stride", "y_batch_stride", "grad_batch_stride")
    return {
        name: specialise(
            function,
            constants=constants,
            dtype=dtype,
            pointers={"partial_ptr": torch.float32},
            multiples_of_16=() if channels % 16 else strides,
            warps=blocks.warps,
        )
        for name, (function, constants, blocks) in plans.items()
    }
