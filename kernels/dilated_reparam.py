"""UniRepLKNet's dilated re-parameterised convolution as one depthwise convolution.

A large depthwise kernel and several small dilated ones see the same input and are added up. Being
linear, they are one dense kernel at inference (X. Ding et al., "UniRepLKNet", CVPR 2024, section
3.2): a dilated kernel is a dense one with zeros between its taps.

Dimension letters: B batch, C channels, H height, W width, K size of the large kernel, k size of a
branch's kernel, d its dilation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels.backend import ACTIVATIONS, describe, without_autocast
from kernels.depthwise_conv import depthwise_conv2d, depthwise_conv2d_plain

Branch = tuple[Tensor, int]
"""A branch's kernel, `[C, 1, k, k]`, and its dilation."""


def dilated_reparam_conv2d(
    x: Tensor,
    weight: Tensor,
    branches: Sequence[Branch],
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
    backend: str = "auto",
) -> Tensor:
    """Merge the kernels and convolve once: activation(sum of convolutions + bias) + residual.

    Every call merges anew, so that gradients reach every branch. At inference merge once with
    `merge_dilated_kernels` and call `depthwise_conv2d`. In half precision the merged kernel is
    rounded once, tap by tap.

    Args:
        x: Input, `[B, C, H, W]`.
        weight: The large kernel, `[C, 1, K, K]`, K odd, up to 31.
        branches: The others with their dilations; batch norms already folded in, see
            `fold_batch_norm`.
        bias: Sum of all branches' biases, `[C]`; None adds nothing.
        residual: As of `depthwise_conv2d`.
        activation: As of `depthwise_conv2d`.
        backend: As of `depthwise_conv2d`.

    Returns:
        `[B, C, H, W]` in the dtype of `x`.

    Raises:
        ValueError: If a branch does not fit, or as `depthwise_conv2d`.
        NotImplementedError: As `depthwise_conv2d`.
    """
    merged = merge_dilated_kernels(weight, branches)
    return depthwise_conv2d(x, merged, bias, residual, activation=activation, backend=backend)


def dilated_reparam_conv2d_plain(
    x: Tensor,
    weight: Tensor,
    branches: Sequence[Branch],
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
) -> Tensor:
    """Say what `dilated_reparam_conv2d` means: each branch by itself, then the sum."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        y = depthwise_conv2d_plain(
            x.to(wide), weight.to(wide), None if bias is None else bias.to(wide)
        )
        for branch, dilation in branches:
            y = y + depthwise_conv2d_plain(x.to(wide), branch.to(wide), dilation=dilation)
        y = ACTIVATIONS[activation](y)
        return (y if residual is None else y + residual.to(wide)).to(x.dtype)


def merge_dilated_kernels(weight: Tensor, branches: Sequence[Branch]) -> Tensor:
    """Add dilated kernels into a large one.

    Args:
        weight: The large kernel, `[C, 1, R, K]`.
        branches: Kernels, `[C, 1, r, k]`, with dilations; d · (k - 1) + 1 may be at most K and
            leave as many taps on either side, so k is odd.

    Returns:
        The merged kernel, like `weight`; summed in float32 at least, differentiable.

    Raises:
        ValueError: If a kernel does not fit into the large one.
    """
    wide = torch.promote_types(weight.dtype, torch.float32)
    merged = weight.to(wide)
    for branch, dilation in branches:
        _check(weight, branch, dilation)
        spread = [dilation * (taps - 1) + 1 for taps in branch.shape[2:]]
        top, left = (
            (large - small) // 2 for large, small in zip(weight.shape[2:], spread, strict=True)
        )
        dense = torch.zeros_like(merged)
        rows = slice(top, top + spread[0], dilation)
        columns = slice(left, left + spread[1], dilation)
        dense[:, :, rows, columns] = branch.to(wide)
        merged = merged + dense
    return merged.to(weight.dtype)


def fold_batch_norm(
    weight: Tensor,
    bias: Tensor | None,
    *,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor,
    shift: Tensor,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Fold the batch norm behind a convolution into it.

    The norm is scale · (y - mean) / sqrt(variance + eps) + shift.

    Args:
        weight: `[C, ...]`, one slice an output channel.
        bias: `[C]`, or None.
        mean: Running mean, `[C]`.
        variance: Running variance, `[C]`.
        scale: `[C]`.
        shift: `[C]`.
        eps: Added to the variance.

    Returns:
        The weight and the bias of the convolution that does both, in their dtype.
    """
    wide = torch.promote_types(weight.dtype, torch.float32)
    factor = scale.to(wide) / torch.sqrt(variance.to(wide) + eps)
    folded = weight.to(wide) * factor.reshape(-1, *[1] * (weight.dim() - 1))
    before = 0.0 if bias is None else bias.to(wide)
    moved = (before - mean.to(wide)) * factor + shift.to(wide)
    return folded.to(weight.dtype), moved.to(weight.dtype)


def _check(weight: Tensor, branch: Tensor, dilation: int) -> None:
    if dilation < 1:
        raise ValueError(f"a branch's dilation must be at least 1 pixel; got {dilation}")
    like = (branch.dtype, branch.device) == (weight.dtype, weight.device)
    if weight.dim() != 4 or branch.dim() != 4 or branch.shape[:2] != weight.shape[:2] or not like:
        raise ValueError(
            "a branch must be [C, 1, k, k] with the channels, dtype and device of weight; got "
            f"{describe(branch)} for weight {describe(weight)}"
        )
    for large, small in zip(weight.shape[2:], branch.shape[2:], strict=True):
        spread = dilation * (small - 1) + 1
        if spread > large or (large - spread) % 2:
            raise ValueError(
                f"a branch must lie centred in the large kernel of {large} taps; {small} taps at "
                f"dilation {dilation} span {spread}"
            )
