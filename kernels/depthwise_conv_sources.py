"""What would be compiled for a depthwise convolution of a given shape, for `kernels.aot`."""

from __future__ import annotations

from typing import Any

import torch

from kernels.aot import KernelSource, specialise
from kernels.backend import ACTIVATIONS, check_name
from kernels.depthwise_conv import KERNEL_SIZES
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
    shape: tuple[int, ...],
    kernel: int = 7,
    stride: int = 1,
    dilation: int = 1,
    activation: str = "none",
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape, for `kernels.aot`: a bias, and no saved sums.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of input, weight and output.
        shape: Of the input, `[B, C, H, W]`; channels that are a multiple of 16 allow vector loads.
        kernel: Kernel size in pixels.
        stride: Step between outputs, in pixels.
        dilation: Step between kernel taps, in pixels.
        activation: The fused activation of the forward kernel.

    Returns:
        The sources of `forward`, `input_grad` and `weight_grad`.

    Raises:
        ValueError: If the shape has not four positive sizes, or a setting is not served.
    """
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"shape must be BxCxHxW, four sizes of at least 1; got {list(shape)}")
    if kernel not in KERNEL_SIZES or min(stride, dilation) < 1:
        raise ValueError(
            f"kernel must be odd from {KERNEL_SIZES[0]} to {KERNEL_SIZES[-1]}, stride and dilation "
            f"at least 1; got kernel {kernel}, stride {stride}, dilation {dilation}"
        )
    check_name("activation", activation, ACTIVATIONS)
    channels, width = shape[1], shape[3]
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
