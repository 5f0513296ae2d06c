"""Triton kernels of pooling over a whole map: the mean and the generalised mean (GeM).

A large map of few channels is summed in parts, which a second launch adds up: no atomics. The parts
are a small channels-last map, so the same kernel does both. Sums are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.activation_triton import capability
from kernels.launch_triton import launch
from kernels.layout import dense_image, empty_image
from kernels.pool_blocks import blocks_for, global_constants, splits_for


@triton.jit  # type: ignore[untyped-decorator]
def global_pool_kernel(
    x_ptr: tl.tensor,  # [batch, pixels, channels], or channels before pixels
    exponent_ptr: tl.tensor,  # [1]; not read unless RAISED or FINISH is "root"
    y_ptr: tl.tensor,  # [batch, splits, channels]
    log_ptr: tl.tensor,  # like y: sums of power * log(value); not written unless SAVE_LOG
    pixels: tl.tensor,
    channels: tl.tensor,
    pixels_per_split: tl.tensor,  # a multiple of PIXELS
    count: tl.tensor,  # what a mean divides by
    eps: tl.tensor,  # float32: smaller values count as this; not used unless RAISED
    RAISED: tl.constexpr,  # whether values are clamped and raised to the exponent
    FINISH: tl.constexpr,  # "sum", "mean", or "root": of the mean
    SAVE_LOG: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Pool one part of the pixels of CHANNELS channels of one image."""
    channel_blocks = tl.cdiv(channels, CHANNELS)
    splits = tl.cdiv(pixels, pixels_per_split)
    program = tl.program_id(0)
    channel = (program % channel_blocks) * CHANNELS + tl.arange(0, CHANNELS)
    split = program // channel_blocks % splits
    image = (program // channel_blocks // splits).to(tl.int64)
    x_ptr += image * pixels * channels
    y_offset = (image * splits + split) * channels + channel

    channel_mask = channel < channels
    if RAISED or FINISH == "root":
        exponent = tl.load(exponent_ptr).to(tl.float32)

    total = tl.zeros((PIXELS, CHANNELS), tl.float32)
    logs = tl.zeros((PIXELS, CHANNELS), tl.float32)
    first = split * pixels_per_split
    for start in range(first, tl.minimum(first + pixels_per_split, pixels), PIXELS):
        pixel = start + tl.arange(0, PIXELS)
        if CHANNELS_LAST:
            x_offset = (pixel * channels)[:, None] + channel[None, :]
        else:
            x_offset = pixel[:, None] + (channel * pixels)[None, :]
        mask = (pixel < pixels)[:, None] & channel_mask[None, :]
        x = tl.load(x_ptr + x_offset, mask=mask, other=0.0).to(tl.float32)
        if RAISED:
            # A comparison, not a maximum: a NaN must stay a NaN.
            log = tl.log2(tl.where(x < eps, eps, x))
            x = tl.where(mask, tl.exp2(exponent * log), 0.0)
            if SAVE_LOG:
                logs += tl.where(mask, x * log, 0.0)
        total += x
    y = tl.sum(total, axis=0)
    if FINISH != "sum":
        y /= count
    if FINISH == "root":
        y = tl.exp2(tl.log2(y) / exponent)

    tl.store(y_ptr + y_offset, y.to(y_ptr.dtype.element_ty), mask=channel_mask)
    if SAVE_LOG:
        # The logarithms above are to the base of 2.
        tl.store(log_ptr + y_offset, tl.sum(logs, axis=0) * 0.6931471805599453, mask=channel_mask)


@triton.jit  # type: ignore[untyped-decorator]
def gem_backward_kernel(
    x_ptr: tl.tensor,  # [batch, pixels, channels], or channels before pixels
    exponent_ptr: tl.tensor,  # [1]
    factor_ptr: tl.tensor,  # [batch, channels], float32
    x_grad_ptr: tl.tensor,  # like x
    pixels: tl.tensor,
    channels: tl.tensor,
    eps: tl.tensor,  # float32: smaller values have no gradient
    CHANNELS_LAST: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Write factor * x^(exponent - 1) for PIXELS pixels of CHANNELS channels of one image."""
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
    x_grad_ptr += image * pixels * channels

    channel_mask = channel < channels
    mask = (pixel < pixels)[:, None] & channel_mask[None, :]

    exponent = tl.load(exponent_ptr).to(tl.float32)
    factor = tl.load(factor_ptr + image * channels + channel, mask=channel_mask, other=0.0)
    x = tl.load(x_ptr + offset, mask=mask, other=1.0).to(tl.float32)
    power = tl.exp2((exponent - 1.0) * tl.log2(tl.where(x < eps, eps, x)))
    x_grad = tl.where(x >= eps, factor[None, :] * power, 0.0)

    tl.store(x_grad_ptr + offset, x_grad.to(x_grad_ptr.dtype.element_ty), mask=mask)


def global_average_triton(x: Tensor) -> Tensor:
    """Return the mean of each channel, `[B, C]`; the arguments are checked.

    The gradient is the same at every pixel: a view of `[B, C]` values, made by torch.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        apply: Callable[..., Tensor] = _Mean.apply
        return apply(x)
    return pooled(*dense_image(x))


def gem_triton(x: Tensor, exponent: Tensor, eps: float) -> Tensor:
    """Return the generalised mean of each channel, `[B, C]`; the arguments are checked."""
    if torch.is_grad_enabled() and (x.requires_grad or exponent.requires_grad):
        apply: Callable[..., Tensor] = _GeneralisedMean.apply
        return apply(x, exponent, eps)
    return pooled(*dense_image(x), exponent, eps)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return pooled(*dense_image(x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        pixels = ctx.shape[2] * ctx.shape[3]
        grad = (grad.float() / pixels).to(grad.dtype)
        return grad[:, :, None, None].expand(ctx.shape)


class _GeneralisedMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, exponent: Tensor, eps: float) -> Tensor:
        x, channels_last = dense_image(x)
        pixels = x.shape[2] * x.shape[3]
        totals, logs = sums(x, channels_last, exponent, eps, save_log=True)
        mean = totals.sum(1) / pixels
        y = mean ** (1 / exponent.float())
        ctx.save_for_backward(x, exponent, mean, logs.sum(1) / pixels, y)
        ctx.settings = (channels_last, eps)
        return y.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # With m = mean(u^p) and y = m^(1/p): dy/du = y / (m n) u^(p - 1) at each of n pixels, and
        # dy/dp = y (mean(u^p log u) / (p m) - log(m) / p^2).
        x, exponent, mean, log_mean, y = ctx.saved_tensors
        channels_last, eps = ctx.settings
        wide, p = grad.float(), exponent.float()
        x_grad = exponent_grad = None
        if ctx.needs_input_grad[0]:
            factor = (wide * y / mean / (x.shape[2] * x.shape[3])).contiguous()
            x_grad = _gem_input_grad(x, channels_last, exponent, factor, eps)
        if ctx.needs_input_grad[1]:
            slope = y * (log_mean / (p * mean) - mean.log() / p**2)
            exponent_grad = (wide * slope).sum().reshape(exponent.shape).to(exponent.dtype)
        return x_grad, exponent_grad, None


def _gem_input_grad(
    x: Tensor, channels_last: bool, exponent: Tensor, factor: Tensor, eps: float
) -> Tensor:
    batch, channels, height, width = x.shape
    pixels = height * width
    x_grad = empty_image(x, height, width, channels_last)
    blocks = blocks_for("global", capability(x), channels_last, channels, pixels)
    launch(
        gem_backward_kernel,
        batch * triton.cdiv(channels, blocks.channels) * triton.cdiv(pixels, blocks.pixels),
        (x, exponent, factor, x_grad, pixels, channels, eps),
        {
            "CHANNELS_LAST": channels_last,
            "PIXELS": blocks.pixels,
            "CHANNELS": blocks.channels,
        },
        warps=blocks.warps,
    )
    return x_grad


def pooled(
    x: Tensor,
    channels_last: bool,
    exponent: Tensor | None = None,
    eps: float = 0.0,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the mean, or with an exponent the generalised mean, in one or two launches.

    Args:
        x: `[B, C, H, W]` without gaps.
        channels_last: How it lies.
        exponent: p of the generalised mean; None for the mean.
        eps: Smaller values count as this.
        dtype: Of the result; None is that of `x`.
    """
    batch, channels, height, width = x.shape
    pixels = height * width
    finish = "mean" if exponent is None else "root"
    blocks = blocks_for("global", capability(x), channels_last, channels, pixels)
    splits, _ = splits_for(batch, channels, pixels, blocks)
    y = torch.empty((batch, channels), dtype=dtype or x.dtype, device=x.device)
    if splits == 1:
        _launch(x, channels_last, exponent, y, y, eps, finish=finish, raised=exponent is not None)
        return y
    partial, _ = sums(x, channels_last, exponent, eps)
    parts = partial.permute(0, 2, 1)[..., None]  # [B, C, splits, 1], channels-last
    _launch(parts, True, exponent, y, y, eps, finish=finish, raised=False, count=pixels)
    return y


def sums(
    x: Tensor,
    channels_last: bool,
    exponent: Tensor | None = None,
    eps: float = 0.0,
    *,
    save_log: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the sums of each part of the pixels, `[B, splits, C]` float32, and of the logs."""
    batch, channels, height, width = x.shape
    blocks = blocks_for("global", capability(x), channels_last, channels, height * width)
    splits, _ = splits_for(batch, channels, height * width, blocks)
    partial = x.new_empty((batch, splits, channels), dtype=torch.float32)
    logs = torch.empty_like(partial) if save_log else partial
    raised = exponent is not None
    _launch(
        x, channels_last, exponent, partial, logs, eps, finish="sum", raised=raised, splits=splits
    )
    return partial, logs


def _launch(
    x: Tensor,
    channels_last: bool,
    exponent: Tensor | None,
    y: Tensor,
    logs: Tensor,
    eps: float,
    *,
    finish: str,
    raised: bool,
    splits: int = 1,
    count: int | None = None,
) -> None:
    batch, channels, height, width = x.shape
    pixels = height * width
    blocks = blocks_for("global", capability(x), channels_last, channels, pixels)
    per_split = pixels
    if splits > 1:
        _, per_split = splits_for(batch, channels, pixels, blocks)
    launch(
        global_pool_kernel,
        batch * splits * triton.cdiv(channels, blocks.channels),
        (
            *(x, x if exponent is None else exponent, y, logs),
            *(pixels, channels, per_split, pixels if count is None else count, eps),
        ),
        global_constants(
            raised=raised,
            finish=finish,
            save_log=logs is not y,
            channels_last=channels_last,
            blocks=blocks,
        ),
        warps=blocks.warps,
    )
