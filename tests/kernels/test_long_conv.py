"""The long convolution: the plain version, the choice of backend, errors, sizes of transforms.

Its Triton kernel is tested in `catalogue_interpreted.py` and `long_conv_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kernels.long_conv import long_conv
from kernels.long_conv_blocks import transform_size

X, KERNEL = torch.zeros(2, 3, 5), torch.zeros(3, 5)


def by_definition(x: torch.Tensor, kernel: torch.Tensor, causal: bool) -> torch.Tensor:
    length, taps = x.shape[2], kernel.shape[1]
    y = torch.zeros_like(x)
    for t in range(length):
        for s in range(length):
            if not causal:
                y[:, :, t] += x[:, :, s] * kernel[:, (t - s) % taps]
            elif 0 <= t - s < taps:
                y[:, :, t] += x[:, :, s] * kernel[:, t - s]
    return y


@pytest.mark.parametrize(
    ("taps", "causal"), [(7, False), (9, False), (14, False), (40, False), (3, True), (9, True)]
)
def test_plain_is_the_definition(taps, causal):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    kernel = torch.randn(3, taps, generator=generator, dtype=torch.float64)
    wanted = by_definition(x, kernel, causal)
    torch.testing.assert_close(long_conv(x, kernel, causal=causal), wanted)


def test_causal_is_torchs_convolution():
    x, kernel, bias = torch.randn(2, 3, 9), torch.randn(3, 4), torch.randn(3)
    padded = functional.pad(x, (3, 0))
    wanted = functional.conv1d(padded, kernel.flip(1)[:, None], bias, groups=3)
    torch.testing.assert_close(long_conv(x, kernel, bias, causal=True), wanted)


def test_an_outer_product_over_an_image_is_two_long_convolutions():
    image, down, across = torch.randn(4, 5, dtype=torch.float64), torch.rand(4), torch.rand(5)
    y = long_conv(image[None], across.double().expand(4, 5))
    y = long_conv(y.transpose(1, 2), down.double().expand(5, 4)).transpose(1, 2)[0]
    spectrum = torch.fft.fft2(image) * torch.fft.fft2(torch.outer(down, across).double())
    torch.testing.assert_close(y, torch.fft.ifft2(spectrum).real)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_meta_device_has_the_shape(dtype):
    x, kernel = X.to("meta", dtype), KERNEL.to("meta", dtype)
    y = long_conv(x, kernel, kernel[:, 0], causal=True)
    assert (y.shape, y.dtype, y.device.type) == ((2, 3, 5), dtype, "meta")


def test_an_empty_batch_gives_an_empty_output():
    assert long_conv(X[:0], KERNEL).shape == (0, 3, 5)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((X[0], KERNEL), {}, r"got \[3, 5\].*need x.transpose\(1, 2\)"),
        ((X.int(), KERNEL), {}, "floating-point"),
        ((X, KERNEL[:, :4]), {}, r"\[3, 5 or more\].*unless causal=True\); got \[3, 4\]"),
        ((X, KERNEL[:2]), {"causal": True}, r"kernel must be \[3, 1 or more\].*got \[2, 5\]"),
        ((X, KERNEL, KERNEL[0]), {}, r"bias must be \[3\]; got \[5\]"),
        ((X, KERNEL.half()), {}, "kernel must have the dtype"),
        ((X, KERNEL), {"backend": "cuda"}, "auto, plain, triton; got 'cuda'"),
    ],
)
def test_faulty_arguments_say_what_must_hold(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        long_conv(*arguments, **settings)


def test_forcing_triton_names_the_shapes_and_what_is_served():
    pytest.importorskip("triton")
    with pytest.raises(NotImplementedError, match=r"x \[2, 3, 5\].*kernel \[3, 5\].*transforms of"):
        long_conv(X, KERNEL, backend="triton")


def test_transforms_have_room_for_all_lags():
    for length in (1, 127, 128, 129, 1000):
        for taps in (length, length + 1, 2 * length - 1, 2 * length, 5000):
            size = transform_size(length, taps, causal=False)
            assert size == taps or size >= 2 * length - 1
            assert size & (size - 1) == 0
        for taps in (1, 5, length, 5000):
            size = transform_size(length, taps, causal=True)
            assert size >= length + min(taps, length) - 1
