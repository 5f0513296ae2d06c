"""Convolutions against sums written out, and the shapes that they refuse."""

import math

import pytest
import torch
from torch.nn import functional as F

from searchspace.build import flow
from searchspace.primitives.dense_convolution import (
    Conv,
    DilatedConv,
    GroupedConv,
    HypercomplexConv,
    SpacedConv,
)
from searchspace.shapes import ShapeError, image
from searchspace.tree import primitive


def _plainly(x, weight, padding, stride=1, dilation=1, groups=1):
    """A convolution as four loops over outputs and a sum over windows."""
    out, width, k, _ = weight.shape
    x = F.pad(x, (padding,) * 4)
    reach = dilation * (k - 1) + 1
    rows = range(0, x.shape[2] - reach + 1, stride)
    columns = range(0, x.shape[3] - reach + 1, stride)
    y = torch.zeros(x.shape[0], out, len(rows), len(columns))
    for o in range(out):
        first = o // (out // groups) * width
        for i, r in enumerate(rows):
            for j, c in enumerate(columns):
                window = x[:, first : first + width, r : r + reach : dilation]
                window = window[..., c : c + reach : dilation]
                y[:, o, i, j] = (window * weight[o]).sum((1, 2, 3))
    return y


@pytest.mark.parametrize(
    ("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (5, 3), (2, 2), (4, 3)]
)
def test_conv_is_the_sum_over_its_windows(kernel, stride):
    layer, x = Conv(3, 4, kernel, stride), torch.randn(2, 3, 7, 8)
    padding = kernel // 2 if kernel % 2 else 0
    torch.testing.assert_close(layer(x), _plainly(x, layer.conv.weight, padding, stride))
    assert [name for name, _ in layer.named_parameters()] == ["conv.weight"]


@pytest.mark.parametrize(("channels", "width", "out"), [(8, 2, 4), (8, 4, 6), (6, 6, 5), (4, 1, 8)])
def test_groups_have_the_width_that_is_asked_for(channels, width, out):
    layer = GroupedConv(channels, out, 3, 2, width)
    x = torch.randn(2, channels, 5, 6)
    assert layer.conv.weight.shape == (out, width, 3, 3)
    expected = _plainly(x, layer.conv.weight, 1, 2, groups=channels // width)
    torch.testing.assert_close(layer(x), expected)


def test_dilated_points_lie_apart():
    layer, x = DilatedConv(3, 3, 2), torch.randn(1, 3, 6, 7)
    torch.testing.assert_close(layer(x), _plainly(x, layer.conv.weight, 2, dilation=2))


@pytest.mark.parametrize("n", [1, 2, 4])
def test_hypercomplex_weight_is_a_sum_of_kronecker_products(n):
    layer, x = HypercomplexConv(8, 4, 3, n), torch.randn(2, 8, 5, 5)
    with torch.no_grad():
        layer.bias.normal_()
    filters = layer.filters.reshape(n, 4 // n, 8 // n, 3, 3)
    weight = torch.stack(
        [
            sum(torch.kron(layer.algebra[i], filters[i, :, :, r, c]) for i in range(n))
            for r in range(3)
            for c in range(3)
        ],
        dim=-1,
    ).reshape(4, 8, 3, 3)
    expected = F.conv2d(x, weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected)
    # Published: n³ + O · C · k² / n parameters, and the bias.
    count = sum(p.numel() for p in layer.parameters())
    assert count == n**3 + 4 * 8 * 9 // n + 4


def test_quaternions_multiply_as_hamilton_did():
    """With Hamilton's matrices as the algebra, a 1 × 1 filter is a product of quaternions."""
    layer = HypercomplexConv(4, 4, 1, 4)
    signs = [  # Rows of the left product p·q, one matrix for each part of p.
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]],
        [[0, 0, -1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, -1, 0, 0]],
        [[0, 0, 0, -1], [0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0]],
    ]
    p, q = [2.0, -1.0, 3.0, 0.5], [1.0, 4.0, -2.0, 1.5]
    with torch.no_grad():
        layer.algebra.copy_(torch.tensor(signs))
        layer.filters.copy_(torch.tensor(p).reshape(4, 1, 1, 1))
    a, b, c, d = p
    e, f, g, h = q
    product = [
        a * e - b * f - c * g - d * h,
        a * f + b * e + c * h - d * g,
        a * g - b * h + c * e + d * f,
        a * h + b * g - c * f + d * e,
    ]
    y = layer(torch.tensor(q).reshape(1, 4, 1, 1)).flatten()
    torch.testing.assert_close(y, torch.tensor(product))


def _spaced_kernel(layer, channel):
    """The dense kernel of one channel, its weights handed to four neighbours one by one."""
    half = layer.kernel // 2
    dense = torch.zeros(layer.kernel, layer.kernel)
    for w, y, x in zip(layer.weight[channel], *layer.places[:, channel], strict=True):
        y, x = (min(max(float(v), -half), half) + half for v in (y, x))
        for i in (math.floor(y), math.floor(y) + 1):
            for j in (math.floor(x), math.floor(x) + 1):
                share = (1 - abs(y - i)) * (1 - abs(x - j))
                if share:
                    dense[i, j] += float(w) * share
    return dense


def test_spaced_weights_are_shared_among_their_neighbours():
    torch.manual_seed(0)
    layer, x = SpacedConv(3, 5, 4), torch.randn(2, 3, 6, 7)
    with torch.no_grad():
        layer.places.normal_(std=2)
        layer.weight.normal_()
        layer.bias.normal_()
    weight = torch.stack([_spaced_kernel(layer, c) for c in range(3)]).unsqueeze(1)
    expected = _plainly(x, weight, 2, groups=3) + layer.bias[:, None, None]
    torch.testing.assert_close(layer(x), expected)


def test_spaced_places_learn():
    layer = SpacedConv(2, 7, 3)
    layer(torch.randn(1, 2, 9, 9)).square().sum().backward()
    assert layer.places.grad.abs().min() > 0
    count = sum(p.numel() for p in layer.parameters())
    assert count == 2 * 3 * 3 + 2


def test_dense_convolutions_start_as_resnet_does():
    torch.manual_seed(0)
    weight = Conv(64, 256, 3, 1).conv.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.02)


@pytest.mark.parametrize(
    ("node", "spec", "words"),
    [
        (primitive("conv", 8, 4, 4), image(3, 3, 9), "a kernel of 4 must fit into the image"),
        (primitive("grouped_conv", 8, 3, 1, 5), image(8, 4, 4), "a multiple of 5 channels"),
        (primitive("grouped_conv", 6, 3, 1, 2), image(8, 4, 4), "multiple of 4 channels, not 6"),
        (primitive("hypercomplex_conv", 6, 3, 4), image(8, 4, 4), "in multiples of 4"),
        (primitive("hypercomplex_conv", 8, 3, 4), image(6, 4, 4), "in multiples of 4"),
        (primitive("strided_max_pool", 2, 2), image(6, 1, 4), "a window of 2 must fit"),
    ],
)
def test_refusals(node, spec, words):
    with pytest.raises(ShapeError, match=words) as caught:
        flow(node, spec)
    assert str(spec) in str(caught.value)
