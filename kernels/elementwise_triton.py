"""Triton kernel for what is done to each value by itself: scale, shift, activation, residual.

A tensor is seen as `[rows, columns]` in the order of its memory. Channels are the columns
(channels-last) or the rows count through them (channels-first), so that loads are whole lines in
both. Offsets are 64-bit between rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.activation_triton import activate, capability
from kernels.elementwise_blocks import blocks_for, elementwise_constants
from kernels.launch_triton import launch


@triton.jit  # type: ignore[untyped-decorator]
def elementwise_kernel(
    x_ptr: tl.tensor,  # [rows, columns]
    mean_ptr: tl.tensor,  # [channels]; not read unless NORMALISE
    variance_ptr: tl.tensor,  # [channels]; not read unless NORMALISE
    weight_ptr: tl.tensor,  # [channels]; not read unless HAS_WEIGHT
    bias_ptr: tl.tensor,  # [channels]; not read unless HAS_BIAS
    residual_ptr: tl.tensor,  # [rows, columns]; not read unless RESIDUAL
    y_ptr: tl.tensor,  # [rows, columns]
    rows: tl.tensor,
    columns: tl.tensor,
    channels: tl.tensor,
    eps: tl.tensor,  # float32
    CHANNELS_LAST: tl.constexpr,
    NORMALISE: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,  # "none", "first" (before the activation) or "last"
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Write ROWS x COLUMNS values."""
    column_blocks = tl.cdiv(columns, COLUMNS)
    program = tl.program_id(0)
    row = (program // column_blocks).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = (program % column_blocks) * COLUMNS + tl.arange(0, COLUMNS)
    offset = (row * columns)[:, None] + column[None, :]
    if CHANNELS_LAST:
        channel = column[None, :]
        channel_mask = (column < columns)[None, :]
    else:
        channel = (row % channels)[:, None]
        channel_mask = (row < rows)[:, None]

    mask = (row < rows)[:, None] & (column < columns)[None, :]

    value = tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
    if NORMALISE:
        mean = tl.load(mean_ptr + channel, mask=channel_mask, other=0.0).to(tl.float32)
        variance = tl.load(variance_ptr + channel, mask=channel_mask, other=1.0).to(tl.float32)
        value = (value - mean) * (1.0 / tl.sqrt(variance + eps))
    if HAS_WEIGHT:
        value *= tl.load(weight_ptr + channel, mask=channel_mask, other=0.0).to(tl.float32)
    if HAS_BIAS:
        value += tl.load(bias_ptr + channel, mask=channel_mask, other=0.0).to(tl.float32)
    if RESIDUAL == "first":
        value += tl.load(residual_ptr + offset, mask=mask, other=0.0).to(tl.float32)
    value = activate(value, ACTIVATION)
    if RESIDUAL == "last":
        value += tl.load(residual_ptr + offset, mask=mask, other=0.0).to(tl.float32)

    tl.store(y_ptr + offset, value.to(y_ptr.dtype.element_ty), mask=mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """How a dense tensor lies in memory, as `[rows, columns]`."""

    rows: int
    """Lines of neighbouring values."""
    columns: int
    """Values in a line: all channels of a position, or all positions of a channel."""
    channels_last: bool
    """Whether the columns are the channels."""


def dense(x: Tensor, channel_dim: int) -> tuple[Tensor, Lines]:
    """Return `x` without gaps, copied only if it must be, and how it lies."""
    channels = x.shape[channel_dim]
    if channel_dim == x.dim() - 1:
        x = x.contiguous()
        return x, Lines(rows=x.numel() // channels, columns=channels, channels_last=True)
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x, Lines(rows=x.numel() // channels, columns=channels, channels_last=True)
    x = x.contiguous()
    columns = x[0, 0].numel()
    return x, Lines(rows=x.numel() // columns, columns=columns, channels_last=False)


def elementwise_triton(
    x: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    *,
    eps: float,
    channel_dim: int,
    activation: str,
    residual_first: bool,
) -> Tensor:
    """Compute activation((x - mean) / sqrt(variance + eps) * weight + bias) + residual.

    The arguments are checked; None leaves a step out. Not differentiated.
    """
    x, lines = dense(x, channel_dim)
    y = torch.empty_like(x)
    if residual is not None:
        last = x.dim() == 4 and lines.channels_last and channel_dim == 1
        residual = residual.contiguous(
            memory_format=torch.channels_last if last else torch.contiguous_format
        )
    blocks = blocks_for(capability(x), lines.columns)
    channel_wise = (mean, variance, weight, bias)
    launch(
        elementwise_kernel,
        triton.cdiv(lines.rows, blocks.rows) * triton.cdiv(lines.columns, blocks.columns),
        (
            x,
            *(y if tensor is None else tensor.contiguous() for tensor in channel_wise),
            y if residual is None else residual,
            y,
            *(lines.rows, lines.columns, x.shape[channel_dim], eps),
        ),
        elementwise_constants(
            channels_last=lines.channels_last,
            normalise=mean is not None,
            has_weight=weight is not None,
            has_bias=bias is not None,
            residual="none" if residual is None else "first" if residual_first else "last",
            activation=activation,
            blocks=blocks,
        ),
        warps=blocks.warps,
    )
    return y
