"""Triton kernel of the inverted-residual block: expand, depthwise, project in one launch.

The block fusion of "On the Efficiency of Convolutional Neural Networks" (arXiv 2404.03617): a
program makes a tile of output pixels. It expands the pixels that the tile sees, a chunk of expanded
channels at a time, takes the depthwise sums from there and projects them into sums that it keeps,
so there is no expanded map. Edges that tiles share are computed again by each.

Triton cannot address shared memory, so unlike the paper's kernel a chunk passes from the expanding
to the depthwise step through a scratch buffer of the program, a few KiB that the caches hold:
programs are as many as a device runs at once, and each goes through several tiles. Where the tiles
would not fill the device, the chunks are split over programs.
"""

from __future__ import annotations

from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.activation_triton import INTERPRETED, activate, capability
from kernels.dense_conv_triton import channels_last
from kernels.epilogue_triton import Epilogue, finish, split_sum
from kernels.gemm_triton import eights
from kernels.inverted_residual import inverted_residual_plain
from kernels.inverted_residual_blocks import block_constants, block_plan
from kernels.launch_triton import launch
from kernels.recompute import with_plain_gradients


@triton.jit  # type: ignore[untyped-decorator]
def inverted_residual_kernel(
    x_ptr: tl.tensor,  # [batch, height, width, channels]
    expand_ptr: tl.tensor,  # [expanded, channels]
    expand_bias_ptr: tl.tensor,  # [expanded]
    depthwise_ptr: tl.tensor,  # [KERNEL * KERNEL, expanded]
    depthwise_bias_ptr: tl.tensor,  # [expanded]
    project_ptr: tl.tensor,  # [columns, expanded]
    scratch_ptr: tl.tensor,  # [programs, HALO, EXPANDED]
    partial_ptr: tl.tensor,  # [splits, rows, columns], float32; None unless split
    row_scale_ptr: tl.tensor,  # this and the next eight as in finish
    column_scale_ptr: tl.tensor,
    shift_ptr: tl.tensor,
    bias_ptr: tl.tensor,
    residual_ptr: tl.tensor,
    y_inverse: tl.tensor,
    y_zero: tl.tensor,
    y_ptr: tl.tensor,
    pre_ptr: tl.tensor,
    x_batch_stride: tl.tensor,  # elements from one image to the next
    rows: tl.tensor,  # batch * height_out * width_out
    columns: tl.tensor,  # output channels, at most COLUMNS
    channels: tl.tensor,
    expanded: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    height_out: tl.tensor,
    width_out: tl.tensor,
    tiles: tl.tensor,  # of the whole batch
    splits: tl.tensor,  # programs that share the chunks of a tile
    split_expanded: tl.tensor,  # expanded channels of one split, a multiple of EXPANDED
    EACH_ROW: tl.constexpr,
    ACTIVATION: tl.constexpr,
    INNER_ACTIVATION: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    EIGHTS: tl.constexpr,  # channels, expanded and columns are multiples of 8
    UPCAST: tl.constexpr,  # the interpreter computes bfloat16 products wrongly
    TILE_ROWS: tl.constexpr,
    TILE_COLUMNS: tl.constexpr,
    HALO: tl.constexpr,  # at least the pixels that a tile sees
    CHANNELS: tl.constexpr,
    EXPANDED: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Write tiles of TILE_ROWS x TILE_COLUMNS pixels, or their parts over splits of the chunks."""
    HALO_ROWS: tl.constexpr = (TILE_ROWS - 1) * STRIDE + KERNEL
    HALO_COLUMNS: tl.constexpr = (TILE_COLUMNS - 1) * STRIDE + KERNEL
    if EIGHTS:
        channels = eights(channels)
        expanded = eights(expanded)
        columns = eights(columns)
        x_batch_stride = eights(x_batch_stride)
    column_tiles = tl.cdiv(width_out, TILE_COLUMNS)
    image_tiles = tl.cdiv(height_out, TILE_ROWS) * column_tiles
    halo = tl.arange(0, HALO)
    halo_row = halo // HALO_COLUMNS
    halo_column = halo % HALO_COLUMNS
    pixel = tl.arange(0, TILE_ROWS * TILE_COLUMNS)
    tile_row = pixel // TILE_COLUMNS
    tile_column = pixel % TILE_COLUMNS
    column = tl.arange(0, COLUMNS)
    chunk_place = tl.arange(0, EXPANDED)
    scratch_ptr += tl.program_id(0) * (HALO * EXPANDED)
    halo_ptrs = scratch_ptr + halo[:, None] * EXPANDED + chunk_place[None, :]
    seen = tile_row * STRIDE * HALO_COLUMNS + tile_column * STRIDE
    seen_ptrs = scratch_ptr + seen[:, None] * EXPANDED + chunk_place[None, :]

    column_mask = (column < columns)[None, :]

    DTYPE: tl.constexpr = x_ptr.dtype.element_ty
    for part in range(tl.program_id(0), tiles * splits, tl.num_programs(0)):
        tile = part % tiles
        split = part // tiles
        image = (tile // image_tiles).to(tl.int64)
        first_row = tile % image_tiles // column_tiles * TILE_ROWS
        first_column = tile % image_tiles % column_tiles * TILE_COLUMNS
        x_row = first_row * STRIDE - KERNEL // 2 + halo_row
        x_column = first_column * STRIDE - KERNEL // 2 + halo_column
        x_ptrs = x_ptr + (image * x_batch_stride + (x_row * width + x_column) * channels)[:, None]
        x_mask = (x_row >= 0) & (x_row < height) & (halo < HALO_ROWS * HALO_COLUMNS)
        x_mask = (x_mask & (x_column >= 0) & (x_column < width))[:, None]
        total = tl.zeros((TILE_ROWS * TILE_COLUMNS, COLUMNS), tl.float32)
        first = split * split_expanded
        last = tl.minimum(first + split_expanded, expanded)
        # One stage: what is read from scratch must not be fetched ahead of what is written.
        for start in tl.range(first, last, EXPANDED, num_stages=1):
            chunk = start + chunk_place
            chunk_mask = chunk < expanded
            wide = tl.zeros((HALO, EXPANDED), tl.float32)
            for start_channel in range(0, channels, CHANNELS):
                channel = start_channel + tl.arange(0, CHANNELS)
                channel_mask = channel < channels
                x = tl.load(
                    x_ptrs + channel[None, :], mask=x_mask & channel_mask[None, :], other=0.0
                )
                weight = tl.load(
                    expand_ptr + (chunk * channels)[None, :] + channel[:, None],
                    mask=chunk_mask[None, :] & channel_mask[:, None],
                    other=0.0,
                )
                if UPCAST:
                    x = x.to(tl.float32)
                    weight = weight.to(tl.float32)
                wide = tl.dot(x, weight, wide, input_precision="ieee")
            bias = tl.load(expand_bias_ptr + chunk, mask=chunk_mask, other=0.0).to(tl.float32)
            wide = activate(wide + bias[None, :], INNER_ACTIVATION)
            # The padding of the depthwise convolution is behind the activation. Channels past the
            # last must be 0 too: an infinite pixel made NaN of them.
            wide = tl.where(x_mask & chunk_mask[None, :], wide, 0.0)
            tl.store(halo_ptrs, wide.to(DTYPE))
            tl.debug_barrier()
            bias = tl.load(depthwise_bias_ptr + chunk, mask=chunk_mask, other=0.0)
            sums = tl.zeros((TILE_ROWS * TILE_COLUMNS, EXPANDED), tl.float32)
            sums += bias.to(tl.float32)[None, :]
            for tap_row in range(KERNEL):
                for tap_column in tl.static_range(KERNEL):
                    place = (tap_row * HALO_COLUMNS + tap_column) * EXPANDED
                    tap_offset = (tap_row * KERNEL + tap_column) * expanded + chunk
                    tap = tl.load(depthwise_ptr + tap_offset, mask=chunk_mask, other=0.0)
                    value = tl.load(seen_ptrs + place).to(tl.float32)
                    sums += value * tap.to(tl.float32)[None, :]
            tl.debug_barrier()
            deep = activate(sums, INNER_ACTIVATION).to(DTYPE)
            project = tl.load(
                project_ptr + (column * expanded)[None, :] + chunk[:, None],
                mask=column_mask & chunk_mask[:, None],
                other=0.0,
            )
            if UPCAST:
                deep = deep.to(tl.float32)
                project = project.to(tl.float32)
            total = tl.dot(deep, project, total, input_precision="ieee")

        y_row = first_row + tile_row
        y_column = first_column + tile_column
        mask = ((y_row < height_out) & (y_column < width_out))[:, None] & column_mask
        row = ((image * height_out + y_row) * width_out + y_column)[:, None]
        if partial_ptr is not None:
            y_place = (split.to(tl.int64) * rows + row) * columns + column[None, :]
            tl.store(partial_ptr + y_place, total, mask=mask)
        else:
            finish(
                total,
                row,
                column[None, :],
                mask,
                rows,
                columns,
                row_scale_ptr,
                column_scale_ptr,
                shift_ptr,
                bias_ptr,
                residual_ptr,
                y_inverse,
                y_zero,
                y_ptr,
                pre_ptr,
                EACH_ROW,
                ACTIVATION,
            )


def inverted_residual_triton(
    x: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor,
    project_weight: Tensor,
    project_bias: Tensor,
    *,
    stride: int,
    activation: str,
    residual: bool,
) -> Tensor:
    """Run `inverted_residual` on the Triton kernel; the arguments are its own, already checked."""
    return with_plain_gradients(
        partial(_forward, stride=stride, activation=activation, residual=residual),
        partial(inverted_residual_plain, stride=stride, activation=activation, residual=residual),
        *(x, expand_weight, expand_bias, depthwise_weight, depthwise_bias),
        *(project_weight, project_bias),
    )


def _forward(
    x: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor,
    project_weight: Tensor,
    project_bias: Tensor,
    *,
    stride: int,
    activation: str,
    residual: bool,
) -> Tensor:
    x = channels_last(x)
    batch, channels, height, width = x.shape
    columns, expanded = project_weight.shape[:2]
    kernel = depthwise_weight.shape[-1]
    height_out, width_out = (height - 1) // stride + 1, (width - 1) // stride + 1
    y = torch.empty(
        (batch, columns, height_out, width_out),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )
    shape = (batch, height_out, width_out)
    plan = block_plan(capability(x), x.element_size(), shape, (channels, expanded), kernel, stride)
    rows = batch * height_out * width_out
    scratch = x.new_empty((plan.programs, plan.halo, plan.blocks.expanded))
    parts = None
    if plan.splits > 1:
        parts = x.new_empty((plan.splits, rows, columns), dtype=torch.float32)
    epilogue = Epilogue(bias=project_bias.contiguous(), residual=x if residual else None)
    # The parts of a split sum are finished by the kernel that adds them up.
    first = epilogue if parts is None else Epilogue()
    launch(
        inverted_residual_kernel,
        plan.programs,
        (
            *(x, expand_weight.flatten(1).contiguous(), expand_bias.contiguous()),
            *(depthwise_weight.flatten(1).t().contiguous(), depthwise_bias.contiguous()),
            *(project_weight.flatten(1).contiguous(), scratch),
            *(parts, *first.arguments(y, None)),
            *(channels * height * width, rows, columns, channels, expanded),
            *(height, width, height_out, width_out),
            *(plan.tiles, plan.splits, plan.split_expanded),
        ),
        {
            **first.constants(),
            **block_constants(plan, (channels, expanded, columns), kernel, stride, activation),
            "UPCAST": INTERPRETED and x.dtype == torch.bfloat16,
        },
        warps=plan.blocks.warps,
        stages=plan.blocks.stages,
    )
    if parts is not None:
        split_sum(parts, epilogue, y, None)
    return y
