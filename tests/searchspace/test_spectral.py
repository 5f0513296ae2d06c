"""Spectral mixers against sums over positions."""

import math

import pytest
import torch
from torch.nn import functional as F

from searchspace.primitives.spectral import (
    DCTMixer,
    Fourier,
    FrequencyFilter,
    GlobalKernel,
    LongConv,
    LongSequenceConv,
)


def _kernel(layer, length):
    """`[C, 2 * length - 1]`, lags from 1 - length up: the parts of equation 1 in a row."""
    both = []
    for weight in layer.weight:
        parts = []
        for i in range(weight.shape[1]):
            span = weight.shape[2] * 2 ** max(i - 1, 0)
            stretched = F.interpolate(weight[None, :, i], size=span, mode="linear")[0]
            parts.append(stretched / 2**i)
        both.append(torch.cat(parts, 1)[:, :length])
    return torch.cat((both[1][:, : length - 1].flip(1), both[0]), 1)


@pytest.mark.parametrize(("length", "size"), [(1, 3), (5, 4), (8, 2), (13, 3), (9, 1)])
def test_long_convolution_is_the_sum_over_all_tokens(length, size):
    layer, x = LongSequenceConv(4, length, size), torch.randn(2, length, 4)
    with torch.no_grad():
        layer.bias.normal_()
    kernel = _kernel(layer.kernel, length)
    expected = torch.zeros_like(x)
    for i in range(length):
        for j in range(length):
            expected[:, i] += kernel[:, i - j + length - 1] * x[:, j]
    torch.testing.assert_close(layer(x), expected + layer.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("length", "size", "scales"), [(8, 8, 1), (9, 8, 2), (64, 8, 4), (65, 8, 5), (3, 8, 1)]
)
def test_parameters_grow_with_the_logarithm_of_the_length(length, size, scales):
    layer = GlobalKernel(2, length, size)
    assert layer.weight.shape == (2, 2, scales, size)
    assert size * 2 ** (scales - 1) >= length


def test_global_kernels_start_with_a_norm_near_one():
    torch.manual_seed(0)
    layer = GlobalKernel(200, 64, 8)
    kernel = _kernel(layer, 64)
    ahead = kernel[:, 63:].square().sum(1)
    # Stretching averages neighbours, which lowers the norm of later scales somewhat.
    assert 0.8 < ahead.mean() <= 1.01


def test_an_image_longer_than_the_kernel_is_served():
    layer = LongSequenceConv(2, 4, 2)
    y = layer(torch.eye(9)[4].reshape(1, 9, 1).expand(1, 9, 2))
    assert (y[0].abs() > 1e-6).sum() <= 2 * 7


@pytest.mark.parametrize(("height", "width", "size"), [(5, 6, 2), (1, 4, 3), (7, 7, 8)])
def test_the_image_is_convolved_by_a_product_of_kernels(height, width, size):
    layer, x = LongConv(3, height, width, size), torch.randn(2, 3, height, width)
    kernel = _kernel(layer.column, height)[:, :, None] * _kernel(layer.row, width)[:, None]
    padding = (height - 1, width - 1)
    # Torch's convolution correlates: the kernel is turned round.
    expected = F.conv2d(x, kernel.flip(1, 2).unsqueeze(1), padding=padding, groups=3)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_frequencies_are_weighted_by_a_network_of_themselves():
    torch.manual_seed(0)
    layer, x = FrequencyFilter(16), torch.randn(2, 16, 6, 5)
    with torch.no_grad():
        layer.weight.normal_(std=0.3)
        layer.bias.normal_(std=0.3)
    full = torch.fft.rfft2(x, norm="ortho")

    def linear(z, index):
        parts = layer.weight.reshape(2, 2, 8, 2, 2)[index]
        weight = torch.block_diag(*torch.complex(parts[0], parts[1]))
        bias = torch.complex(layer.bias[index, 0], layer.bias[index, 1])
        return torch.einsum("bihw,io->bohw", z, weight) + bias[:, None, None]

    def shrunk(part):
        return part.sign() * (part.abs() - 0.01).clamp(min=0)

    hidden = linear(full, 0)
    mask = linear(torch.complex(hidden.real.relu(), hidden.imag.relu()), 1)
    mask = torch.complex(shrunk(mask.real), shrunk(mask.imag))
    expected = torch.fft.irfft2(mask * full, s=(6, 5), norm="ortho")
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def _cosine_transform(x):
    """Type II, orthonormal, straight from its definition, over the last two dimensions."""
    for _ in range(2):
        n = x.shape[-1]
        rows = [
            sum(x[..., i] * math.cos(math.pi * u * (2 * i + 1) / (2 * n)) for i in range(n))
            * math.sqrt((1 if u == 0 else 2) / n)
            for u in range(n)
        ]
        x = torch.stack(rows, -1).transpose(-1, -2)
    return x


def test_bands_of_cosine_frequencies_are_weighted():
    torch.manual_seed(0)
    layer, x = DCTMixer(4, 3), torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        layer.select.weight.normal_()
    hidden = F.relu(layer.squeeze(x.mean((2, 3))))
    weights = 2 * torch.sigmoid(layer.select(hidden)).reshape(2, 4, 3)
    before, after = _cosine_transform(x), _cosine_transform(layer(x))
    for u in range(5):
        for v in range(6):
            band = int(3 * max(u / 5, v / 6))
            expected = before[:, :, u, v] * weights[:, :, band]
            torch.testing.assert_close(after[:, :, u, v], expected, rtol=1e-4, atol=1e-4)


def test_fourier_is_the_real_part_of_the_transform():
    x = torch.randn(2, 5, 4)
    expected = torch.zeros_like(x)
    for u in range(5):
        for v in range(4):
            for n in range(5):
                for d in range(4):
                    angle = 2 * math.pi * (u * n / 5 + v * d / 4)
                    expected[:, u, v] += x[:, n, d] * math.cos(angle)
    torch.testing.assert_close(Fourier()(x), expected / math.sqrt(20), rtol=1e-4, atol=1e-5)
    # A picture of one column is a sequence of pixels.
    picture = x.transpose(1, 2).unsqueeze(-1)
    torch.testing.assert_close(Fourier()(picture).squeeze(-1).transpose(1, 2), Fourier()(x))
