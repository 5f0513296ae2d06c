"""Merging dilated kernels: exact in float64, and what does not fit is told."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernels.depthwise_conv import depthwise_conv2d
from kernels.dilated_reparam import (
    dilated_reparam_conv2d,
    dilated_reparam_conv2d_plain,
    fold_batch_norm,
    merge_dilated_kernels,
)

# Kernel sizes with dilations of UniRepLKNet's blocks, by the size of the large kernel.
PUBLISHED = {
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    5: ((3, 1), (3, 2)),
}


def draw(*size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kernel", PUBLISHED)
def test_merged_is_the_sum_of_the_branches(kernel):
    x, weight, bias = draw(2, 3, 11, 9), draw(3, 1, kernel, kernel, seed=1), draw(3, seed=2)
    branches = [
        (draw(3, 1, size, size, seed=size + step), step) for size, step in PUBLISHED[kernel]
    ]
    merged = depthwise_conv2d(x, merge_dilated_kernels(weight, branches), bias)
    wanted = nn.functional.conv2d(x, weight, bias, padding=kernel // 2, groups=3)
    for branch, step in branches:
        padding = step * (branch.shape[-1] - 1) // 2
        wanted += nn.functional.conv2d(x, branch, padding=padding, dilation=step, groups=3)
    torch.testing.assert_close(merged, wanted, rtol=1e-12, atol=1e-12)
    plain = dilated_reparam_conv2d_plain(x, weight, branches, bias)
    torch.testing.assert_close(plain, wanted, rtol=1e-12, atol=1e-12)


def test_gradients_reach_every_branch():
    branch = draw(2, 1, 3, 3).requires_grad_()
    weight = draw(2, 1, 7, 7, seed=1).requires_grad_()
    y = dilated_reparam_conv2d(draw(1, 2, 5, 5), weight, [(branch, 2)], backend="plain")
    wanted = dilated_reparam_conv2d_plain(draw(1, 2, 5, 5), weight, [(branch, 2)])
    for got, right in zip(
        torch.autograd.grad(y.square().sum(), (weight, branch)),
        torch.autograd.grad(wanted.square().sum(), (weight, branch)),
        strict=True,
    ):
        torch.testing.assert_close(got, right)


def test_a_batch_norm_is_folded():
    conv = nn.Conv2d(4, 4, 3, padding=1, groups=4, dtype=torch.float64)
    norm = nn.BatchNorm2d(4, dtype=torch.float64).eval()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            tensor.copy_(draw(4, seed=3).abs() + 0.1)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fold_batch_norm(
        conv.weight,
        conv.bias,
        mean=norm.running_mean,
        variance=norm.running_var,
        scale=norm.weight,
        shift=norm.bias,
        eps=norm.eps,
    )
    x = draw(2, 4, 5, 5)
    torch.testing.assert_close(depthwise_conv2d(x, weight, bias), norm(conv(x)))


def test_the_meta_device_has_the_shape():
    weight, branch = (torch.empty(2, 1, k, k, device="meta") for k in (7, 3))
    x = torch.empty(1, 2, 8, 8, device="meta")
    assert dilated_reparam_conv2d(x, weight, [(branch, 3)]).shape == x.shape


@pytest.mark.parametrize(
    ("branch", "step", "message"),
    [
        (draw(2, 1, 3, 3), 4, "3 taps at dilation 4 span 9"),
        (draw(2, 1, 4, 4), 1, "centred in the large kernel of 7 taps; 4 taps"),
        (draw(3, 1, 3, 3), 1, r"got \[3, 1, 3, 3\]"),
        (draw(2, 1, 3, 3).float(), 1, "dtype and device of weight; got"),
        (draw(2, 1, 3, 3), 0, "dilation must be at least 1 pixel; got 0"),
    ],
)
def test_what_does_not_fit_is_told(branch, step, message):
    with pytest.raises(ValueError, match=message):
        merge_dilated_kernels(draw(2, 1, 7, 7), [(branch, step)])
