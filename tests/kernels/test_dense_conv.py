"""The plain dense convolution, the choice of a backend, the errors and the cuts.

Its Triton kernel is tested in `catalogue_interpreted.py` and `dense_conv_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernels.dense_conv import dense_conv2d, output_shape, too_large
from kernels.dense_conv_blocks import conv_plan


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(3, 2, 1, 1), (4, 1, 0, 1), (2, 1, 3, 2)]
)
def test_it_is_a_convolution_and_what_follows(kernel, stride, padding, dilation):
    layer = nn.Conv2d(3, 5, kernel, stride, padding, dilation)
    x = torch.randn(2, 3, 7, 6)
    wanted = layer(x)
    residual = torch.randn_like(wanted)
    steps = (stride, padding, dilation)
    y = dense_conv2d(
        *(x, layer.weight, layer.bias, residual),
        **dict(zip(("stride", "padding", "dilation"), steps, strict=True)),
        activation="silu",
    )
    torch.testing.assert_close(y, nn.functional.silu(wanted) + residual)
    assert output_shape(x, layer.weight, *steps) == wanted.shape


def test_sums_are_float32():
    # 1,225 ones: a bfloat16 sum would stop at 256.
    x = torch.ones(1, 25, 7, 7, dtype=torch.bfloat16)
    y = dense_conv2d(x, torch.ones(1, 25, 7, 7, dtype=torch.bfloat16))
    assert y.item() == torch.tensor(1225.0).bfloat16()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_meta_device_has_the_shape(dtype):
    x = torch.empty(2, 3, 7, 9, device="meta", dtype=dtype)
    weight = torch.empty(4, 3, 5, 5, device="meta", dtype=dtype)
    y = dense_conv2d(x, weight, stride=2, padding=2)
    assert (y.shape, y.dtype, y.device.type) == ((2, 4, 4, 5), dtype, "meta")


def test_an_empty_batch_gives_an_empty_output():
    x, weight = torch.zeros(0, 2, 5, 4), torch.zeros(3, 2, 3, 3)
    assert dense_conv2d(x, weight).shape == (0, 3, 3, 2)


X, WEIGHT = torch.zeros(1, 2, 4, 4), torch.zeros(3, 2, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((X[0], WEIGHT), {}, r"got \[2, 4, 4\] float32 on cpu. A single image needs x\[None\]"),
        ((X.to(torch.int8), WEIGHT), {}, "int8 goes to int8_conv2d"),
        ((X, torch.zeros(3, 1, 3, 3)), {}, "Grouped kernels are not served"),
        ((X, torch.zeros(3, 2, 8, 8)), {"padding": 4}, "square kernel of size 1 to 7"),
        ((X, torch.zeros(3, 2, 1, 3)), {}, "square"),
        ((X, WEIGHT, torch.zeros(2)), {}, r"bias must be \[3\]; got \[2\]"),
        ((X, WEIGHT, None, X), {}, r"residual must be \[1, 3, 2, 2\].*got \[1, 2, 4, 4\]"),
        ((X, WEIGHT.half()), {}, "weight must have the dtype and device of x"),
        ((X, WEIGHT), {"stride": 0}, "stride must be at least 1 pixel; got 0"),
        ((X, WEIGHT), {"dilation": 0}, "dilation must be at least 1"),
        ((X, WEIGHT), {"padding": -1}, "padding must be at least 0"),
        ((X, WEIGHT), {"dilation": 2}, "the window must fit the padded input"),
        ((X, WEIGHT), {"activation": "tanh"}, "none, relu, gelu, silu, .*; got 'tanh'"),
        ((X, WEIGHT), {"backend": "cuda"}, "auto, plain, triton; got 'cuda'"),
    ],
)
def test_faulty_arguments_say_what_must_hold(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        dense_conv2d(*arguments, **settings)


def test_forcing_triton_names_the_shapes_and_what_is_served():
    pytest.importorskip("triton")
    with pytest.raises(NotImplementedError) as caught:
        dense_conv2d(X, WEIGHT, backend="triton")
    text = str(caught.value)
    assert "x [1, 2, 4, 4] float32 on cpu with weight [3, 2, 3, 3]" in text
    assert "compute capability 8.0 or later" in text


@pytest.mark.parametrize(
    ("shape", "what"), [((1, 64, 6000, 6000), "an image"), ((3000, 1, 900, 900), "output pixels")]
)
def test_what_passes_32_bits_is_known(shape, what):
    x = torch.empty(shape, device="meta")
    reason = too_large(x, torch.empty(1, shape[1], 3, 3, device="meta"), 1, 1)
    assert reason is not None
    assert what in reason


@pytest.mark.parametrize(
    ("channels", "kernel", "inner"), [(3, 7, 32), (3, 3, 16), (32, 3, 32), (128, 3, 64)]
)
def test_steps_waste_as_little_of_a_run_as_can_be(channels, kernel, inner):
    assert conv_plan((8, 0), 2, 3136, 64, channels, kernel).blocks.inner == inner
