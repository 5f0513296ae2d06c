"""What would be compiled for a depthwise convolution of a given shape, for `kernels.aot`."""

from __future__ import annotations

import torch

from kernels.aot import KernelSource, specialise
from kernels.backend import ACTIVATIONS, check_name
from kernels.depthwise_conv import KERNEL_SIZES
from kernels.depthwise_conv_blocks import (
    Constants,
    gather_constants,
    tiling_for,
    weight_grad_constants,
)
from kernels.depthwise_forward_triton import depthwise_forward_kernel
from kernels.depthwise_grad_triton import (
    depthwise_input_grad_kernel,
    depthwise_weight_grad_kernel,
)


def sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    kernel: int = 7,
    kernel_rows: int = 0,
    stride: int = 1,
    dilation: int = 1,
    activation: str = "none",
    residual: bool = False,
    channels_last: bool = True,
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape, for `kernels.aot`: a bias, and no saved sums.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of input, weight and output.
        shape: Of the input, `[B, C, H, W]`; channels that are a multiple of 16 allow vector loads.
        kernel: Kernel size in pixels.
        kernel_rows: Rows of the kernel, if it is not square; 0: as many as columns.
        stride: Step between outputs, in pixels.
        dilation: Step between kernel taps, in pixels.
        activation: The fused activation of the forward kernel.
        residual: Whether the forward kernel adds a residual.
        channels_last: Layout of the images; where others are copied, the kernels of the copy.

    Returns:
        The sources of `forward`, `input_grad` and `weight_grad`.

    Raises:
        ValueError: If the shape has not four positive sizes, or a setting is not served.
    """
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"shape must be BxCxHxW, four sizes of at least 1; got {list(shape)}")
    taps = (kernel_rows or kernel, kernel)
    if not set(taps) <= set(KERNEL_SIZES) or min(stride, dilation) < 1:
        raise ValueError(
            f"kernel and kernel_rows must be odd from {KERNEL_SIZES[0]} to {KERNEL_SIZES[-1]}, "
            f"stride and dilation at least 1; got kernel {taps[0]}x{taps[1]}, stride {stride}, "
            f"dilation {dilation}"
        )
    check_name("activation", activation, ACTIVATIONS)
    batch, channels, height, width = shape
    height_out, width_out = (height - 1) // stride + 1, (width - 1) // stride + 1
    forward = tiling_for(
        capability, taps, (batch, channels, height_out, width_out), channels_last=channels_last
    )
    backward = tiling_for(
        capability, taps, (batch, channels, height, width), channels_last=channels_last
    )
    summing, summing_constants = weight_grad_constants(
        capability, taps, stride, dilation, width_out
    )
    fused: Constants = {"ACTIVATION": activation, "PACKED": forward.packed, "pre_ptr": None}
    if not residual:
        fused["residual_ptr"] = None
    sizes = {"height": height, "width": width, "channels": channels}
    sizes |= {"height_out": height_out, "width_out": width_out}
    sizes |= {"x_batch_stride": channels * height * width}
    out = channels * height_out * width_out
    sizes |= {"y_batch_stride": out, "grad_batch_stride": out}
    multiples = [name for name, size in sizes.items() if size % 16 == 0]
    return {
        "forward": specialise(
            depthwise_forward_kernel,
            constants=gather_constants(taps, stride, dilation, forward) | fused,
            dtype=dtype,
            pointers={},
            multiples_of_16=multiples,
            warps=forward.blocks.warps,
            programs=forward.programs,
        ),
        "input_grad": specialise(
            depthwise_input_grad_kernel,
            constants=gather_constants(taps, stride, dilation, backward),
            dtype=dtype,
            pointers={},
            multiples_of_16=multiples,
            warps=backward.blocks.warps,
            programs=backward.programs,
        ),
        "weight_grad": specialise(
            depthwise_weight_grad_kernel,
            constants=summing_constants,
            dtype=dtype,
            pointers={"partial_ptr": torch.float32},
            multiples_of_16=multiples,
            warps=summing.warps,
        ),
    }
