"""Norms and parameter-free layers against their formulas."""

import pytest
import torch

from searchspace.primitives.norm import Bias, GroupNorm, InstanceBatchNorm, RMSNorm
from searchspace.primitives.parameter_free import (
    GeneralisedMeanPool,
    Softmax,
    StridedAveragePool,
    StridedMaxPool,
)


def test_rms_norm_divides_each_pixel_by_its_root_mean_square():
    layer, x = RMSNorm(6, eps=1e-6), torch.randn(2, 6, 3, 4)
    with torch.no_grad():
        layer.weight.normal_()
    expected = x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt() * layer.weight[:, None, None]
    torch.testing.assert_close(layer(x), expected)
    tokens = x.flatten(2).transpose(1, 2)
    torch.testing.assert_close(layer(tokens), expected.flatten(2).transpose(1, 2))
    torch.testing.assert_close(layer(x[:, :, 1, 2]), expected[:, :, 1, 2])


def _standard(x, dims):
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, keepdim=True, correction=0)
    return (x - mean) / (variance + 1e-5).sqrt()


def test_group_norm_normalises_each_group_of_each_sample():
    x = torch.randn(2, 6, 3, 4)
    expected = _standard(x.reshape(2, 3, 2, 3, 4), (2, 3, 4)).reshape(x.shape)
    torch.testing.assert_close(GroupNorm(3, 6)(x), expected)


@pytest.mark.parametrize("channels", [2, 5, 6])
def test_half_of_the_channels_see_their_sample_alone(channels):
    x, half = torch.randn(3, channels, 4, 5), channels // 2
    y = InstanceBatchNorm(channels)(x)
    torch.testing.assert_close(y[:, :half], _standard(x[:, :half], (2, 3)))
    torch.testing.assert_close(y[:, half:], _standard(x[:, half:], (0, 2, 3)))


def test_bias_adds_to_each_channel():
    layer, x = Bias(3), torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(layer(x), x)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close((layer(x) - x)[1, :, 2, 3], layer.bias)
    torch.testing.assert_close(layer(x[:, :, 0, 0]), x[:, :, 0, 0] + layer.bias)


@pytest.mark.parametrize(("exponent", "expected"), [(1.0, 2.0), (2.0, 14 / 3), (60.0, 3.0)])
def test_generalised_mean_lies_between_mean_and_maximum(exponent, expected):
    layer, x = GeneralisedMeanPool(), torch.tensor([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    assert layer.exponent.item() == 3
    with torch.no_grad():
        layer.exponent.fill_(exponent)
    expected = expected ** (1 / exponent) if exponent == 2 else expected
    torch.testing.assert_close(layer(x), torch.tensor([[expected]]), rtol=0.03, atol=0)


def test_strided_windows_are_centred_if_odd_and_within_if_even():
    x = torch.arange(20.0).reshape(1, 1, 4, 5)
    assert StridedMaxPool(3, 2)(x).flatten().tolist() == [6, 8, 9, 16, 18, 19]
    assert StridedMaxPool(2, 2)(x).flatten().tolist() == [6, 8, 16, 18]
    assert StridedAveragePool(2, 2)(x).flatten().tolist() == [3, 5, 13, 15]
    assert StridedAveragePool(3, 3)(x).flatten().tolist() == [3, 5.5, 13, 15.5]
    assert torch.equal(StridedMaxPool(1, 2)(x), x[:, :, ::2, ::2])


def test_softmax_is_over_the_channels():
    for shape, dim in [((2, 3, 4, 5), 1), ((2, 4, 3), 2), ((2, 3), 1)]:
        x = torch.randn(shape)
        torch.testing.assert_close(Softmax()(x), x.exp() / x.exp().sum(dim, keepdim=True))
