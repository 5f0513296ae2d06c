"""Triton kernels of the channel gates, squeeze-excite and ECA.

A small image is pooled, gated and scaled by one program in one launch. A large one is pooled in
parts; one launch makes the gates from the parts' sums, and one scales. ECA needs no launch of its
own for the gates. Sums are float32; there are no atomics.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.activation_triton import activate, capability
from kernels.gate_blocks import (
    ONE_LAUNCH_VALUES,
    blocks_for,
    excite_constants,
    scale_constants,
)
from kernels.global_pool_triton import pooled, sums
from kernels.launch_triton import launch
from kernels.layout import dense_image


@triton.jit  # type: ignore[untyped-decorator]
def squeeze_excite_kernel(
    x_ptr: tl.tensor,  # [batch, pixels, channels], or channels before pixels
    squeeze_ptr: tl.tensor,  # [hidden, channels]
    squeeze_bias_ptr: tl.tensor,  # [hidden]
    excite_ptr: tl.tensor,  # [channels, hidden]
    excite_bias_ptr: tl.tensor,  # [channels]
    y_ptr: tl.tensor,  # like x if SCALES, else the gates, [batch, channels], float32
    pixels: tl.tensor,
    channels: tl.tensor,
    hidden: tl.tensor,
    count: tl.tensor,  # what the mean divides by
    ACTIVATION: tl.constexpr,
    SCALES: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    HIDDEN: tl.constexpr,  # hidden rounded up to a power of two
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Gate the channels of one image."""
    image = tl.program_id(0).to(tl.int64)
    x_ptr += image * pixels * channels
    unit = tl.arange(0, HIDDEN)
    unit_mask = unit < hidden

    total = tl.zeros((HIDDEN,), tl.float32)
    for first_channel in range(0, channels, CHANNELS):
        channel = first_channel + tl.arange(0, CHANNELS)
        channel_mask = channel < channels
        pooled_sum = tl.zeros((PIXELS, CHANNELS), tl.float32)
        for first_pixel in range(0, pixels, PIXELS):
            pixel = first_pixel + tl.arange(0, PIXELS)
            if CHANNELS_LAST:
                offset = (pixel * channels)[:, None] + channel[None, :]
            else:
                offset = pixel[:, None] + (channel * pixels)[None, :]
            mask = (pixel < pixels)[:, None] & channel_mask[None, :]
            pooled_sum += tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        mean = tl.sum(pooled_sum, axis=0) / count
        matrix_offset = (unit * channels)[:, None] + channel[None, :]
        matrix_mask = unit_mask[:, None] & channel_mask[None, :]
        squeeze = tl.load(squeeze_ptr + matrix_offset, mask=matrix_mask, other=0.0)
        # A masked channel's mean is 0, as are its weights.
        total += tl.sum(squeeze.to(tl.float32) * mean[None, :], axis=1)
    total += tl.load(squeeze_bias_ptr + unit, mask=unit_mask, other=0.0).to(tl.float32)
    # An infinite mean makes masked units NaN, whose products with weights of 0 would spread.
    units = tl.where(unit_mask, activate(total, ACTIVATION), 0.0)

    for first_channel in range(0, channels, CHANNELS):
        channel = first_channel + tl.arange(0, CHANNELS)
        channel_mask = channel < channels
        matrix_offset = (channel * hidden)[:, None] + unit[None, :]
        matrix_mask = channel_mask[:, None] & unit_mask[None, :]
        excite = tl.load(excite_ptr + matrix_offset, mask=matrix_mask, other=0.0)
        gate = tl.sum(excite.to(tl.float32) * units[None, :], axis=1)
        gate += tl.load(excite_bias_ptr + channel, mask=channel_mask, other=0.0).to(tl.float32)
        gate = 1.0 / (1.0 + tl.exp(-gate))
        if SCALES:
            for first_pixel in range(0, pixels, PIXELS):
                pixel = first_pixel + tl.arange(0, PIXELS)
                if CHANNELS_LAST:
                    offset = (pixel * channels)[:, None] + channel[None, :]
                else:
                    offset = pixel[:, None] + (channel * pixels)[None, :]
                mask = (pixel < pixels)[:, None] & channel_mask[None, :]
                x = tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
                y = (x * gate[None, :]).to(y_ptr.dtype.element_ty)
                tl.store(y_ptr + image * pixels * channels + offset, y, mask=mask)
        else:
            tl.store(y_ptr + image * channels + channel, gate, mask=channel_mask)


@triton.jit  # type: ignore[untyped-decorator]
def scale_kernel(
    x_ptr: tl.tensor,  # [batch, pixels, channels], or channels before pixels
    gate_ptr: tl.tensor,  # [batch, channels], float32: gates, or means if TAPS
    weight_ptr: tl.tensor,  # [TAPS]; not read unless TAPS
    y_ptr: tl.tensor,  # like x
    pixels: tl.tensor,
    channels: tl.tensor,
    TAPS: tl.constexpr,  # 0: gates are given; else ECA's kernel makes them of means
    CHANNELS_LAST: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Scale PIXELS pixels of CHANNELS channels of one image."""
    channel_blocks = tl.cdiv(channels, CHANNELS)
    pixel_blocks = tl.cdiv(pixels, PIXELS)
    program = tl.program_id(0)
    channel = (program % channel_blocks) * CHANNELS + tl.arange(0, CHANNELS)
    pixel = program // channel_blocks % pixel_blocks * PIXELS + tl.arange(0, PIXELS)
    image = (program // channel_blocks // pixel_blocks).to(tl.int64)
    if CHANNELS_LAST:
        offset = (pixel * channels)[:, None] + channel[None, :]
    else:
        offset = pixel[:, None] + (channel * pixels)[None, :]
    x_ptr += image * pixels * channels
    y_ptr += image * pixels * channels
    gate_ptr += image * channels

    channel_mask = channel < channels
    mask = (pixel < pixels)[:, None] & channel_mask[None, :]

    x = tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
    if TAPS == 0:
        gate = tl.load(gate_ptr + channel, mask=channel_mask, other=0.0)
    else:
        total = tl.zeros((CHANNELS,), tl.float32)
        for tap in tl.static_range(TAPS):
            source = channel + (tap - TAPS // 2)
            seen = channel_mask & (source >= 0) & (source < channels)
            mean = tl.load(gate_ptr + source, mask=seen, other=0.0)
            total += mean * tl.load(weight_ptr + tap).to(tl.float32)
        gate = 1.0 / (1.0 + tl.exp(-total))

    tl.store(y_ptr + offset, (x * gate[None, :]).to(y_ptr.dtype.element_ty), mask=mask)


def squeeze_excite_triton(
    x: Tensor,
    squeeze_weight: Tensor,
    squeeze_bias: Tensor,
    excite_weight: Tensor,
    excite_bias: Tensor,
    *,
    activation: str,
) -> Tensor:
    """Run `squeeze_excite` on the Triton kernels; the arguments are its own, checked."""
    x, channels_last = dense_image(x)
    matrices = (squeeze_weight, squeeze_bias, excite_weight, excite_bias)
    weights = tuple(tensor.contiguous() for tensor in matrices)
    y = torch.empty_like(x)
    if x[0].numel() <= ONE_LAUNCH_VALUES:
        pixels = x.shape[2] * x.shape[3]
        _excite(x, channels_last, weights, y, pixels, activation, scales=True)
        return y
    partial, _ = sums(x, channels_last)
    parts = partial.permute(0, 2, 1)[..., None]  # [B, C, splits, 1], channels-last
    gates = x.new_empty(x.shape[:2], dtype=torch.float32)
    _excite(parts, True, weights, gates, x.shape[2] * x.shape[3], activation, scales=False)
    _scale(x, channels_last, gates, None, y)
    return y


def eca_triton(x: Tensor, weight: Tensor) -> Tensor:
    """Run `eca` on the Triton kernels; the arguments are its own, checked."""
    x, channels_last = dense_image(x)
    y = torch.empty_like(x)
    means = pooled(x, channels_last, dtype=torch.float32)
    _scale(x, channels_last, means, weight.contiguous(), y)
    return y


def _excite(
    x: Tensor,
    channels_last: bool,
    weights: tuple[Tensor, ...],
    y: Tensor,
    count: int,
    activation: str,
    *,
    scales: bool,
) -> None:
    batch, channels, height, width = x.shape
    hidden = weights[0].shape[0]
    blocks = blocks_for("excite", capability(x), channels_last, hidden)
    launch(
        squeeze_excite_kernel,
        batch,
        (x, *weights, y, height * width, channels, hidden, count),
        excite_constants(
            hidden=hidden,
            activation=activation,
            scales=scales,
            channels_last=channels_last,
            blocks=blocks,
        ),
        warps=blocks.warps,
    )


def _scale(x: Tensor, channels_last: bool, gates: Tensor, weight: Tensor | None, y: Tensor) -> None:
    batch, channels, height, width = x.shape
    pixels = height * width
    blocks = blocks_for("scale", capability(x), channels_last)
    launch(
        scale_kernel,
        batch * triton.cdiv(channels, blocks.channels) * triton.cdiv(pixels, blocks.pixels),
        (x, gates, gates if weight is None else weight, y, pixels, channels),
        scale_constants(
            taps=0 if weight is None else weight.numel(),
            channels_last=channels_last,
            blocks=blocks,
        ),
        warps=blocks.warps,
    )
