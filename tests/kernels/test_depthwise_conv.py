"""The plain depthwise convolution, the choice of a backend, and the errors.

Its Triton kernels are tested in `catalogue_interpreted.py` and `depthwise_conv_interpreted.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kernels.depthwise_conv import depthwise_conv2d
from kernels.depthwise_conv_blocks import blocks_for, tiling_for

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def by_definition(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """Sum the shifted inputs tap by tap, in float64."""
    kernel = weight.shape[-1]
    padded = functional.pad(x.double(), [dilation * (kernel - 1) // 2] * 4)
    height, width = ((size - 1) // stride + 1 for size in x.shape[2:])
    total = x.new_zeros(*x.shape[:2], height, width, dtype=torch.float64)
    for row in range(kernel):
        for column in range(kernel):
            shifted = padded[:, :, row * dilation :, column * dilation :][..., ::stride, ::stride]
            total += shifted[..., :height, :width] * weight[:, :, row, column, None].double()
    return total


@pytest.mark.parametrize("kernel", [3, 5, 31])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 2)])
def test_plain_is_the_definition(kernel, stride, dilation):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 6, 7, generator=generator)
    weight = torch.randn(3, 1, kernel, kernel, generator=generator)
    y = depthwise_conv2d(x, weight, stride=stride, dilation=dilation)
    wanted = by_definition(x, weight, stride, dilation)
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=1e-4)


def test_plain_takes_kernels_that_are_not_square():
    x = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    weight = torch.zeros(3, 1, 1, 5)
    weight[:, :, 0, 4] = 1
    y = depthwise_conv2d(x, weight)
    assert torch.equal(y[..., :-2], x[..., 2:])
    assert torch.equal(y[..., -2:], torch.zeros(2, 3, 6, 2))


def test_the_residual_comes_after_the_activation():
    x = torch.full((1, 1, 2, 2), -1.0)
    weight = torch.zeros(1, 1, 3, 3)
    weight[..., 1, 1] = 1
    y = depthwise_conv2d(x, weight, None, x, activation="relu")
    assert torch.equal(y, x)


@pytest.mark.parametrize("autocast", [False, True])
def test_sums_are_float32_even_under_autocast(autocast):
    # 961 ones: a bfloat16 sum would stop at 256.
    x = torch.ones(1, 1, 31, 31, dtype=torch.float32 if autocast else torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        y = depthwise_conv2d(x, torch.ones(1, 1, 31, 31, dtype=x.dtype))
    assert y.dtype == x.dtype
    assert y[0, 0, 15, 15] == torch.tensor(961.0).to(x.dtype)


@pytest.mark.parametrize(
    ("activation", "wanted"),
    [
        ("none", [-2.0, 0.0, 2.0]),
        ("relu", [0.0, 0.0, 2.0]),
        ("gelu", [-0.0455003, 0.0, 1.9544997]),
        ("silu", [-0.2384058, 0.0, 1.7615942]),
    ],
)
def test_bias_and_activation(activation, wanted):
    x = torch.zeros(1, 3, 2, 2)
    bias = torch.tensor([-2.0, 0.0, 2.0])
    y = depthwise_conv2d(x, torch.zeros(3, 1, 3, 3), bias, activation=activation)
    torch.testing.assert_close(y[0, :, 1, 1], torch.tensor(wanted))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_meta_device_has_the_shape(dtype):
    x = torch.empty(2, 3, 7, 9, device="meta", dtype=dtype)
    y = depthwise_conv2d(x, torch.empty(3, 1, 5, 5, device="meta", dtype=dtype), stride=2)
    assert (y.shape, y.dtype, y.device.type) == ((2, 3, 4, 5), dtype, "meta")


def test_an_empty_batch_gives_an_empty_output():
    assert depthwise_conv2d(torch.zeros(0, 2, 5, 4), torch.zeros(2, 1, 3, 3)).shape == (0, 2, 5, 4)


X, WEIGHT = torch.zeros(1, 2, 4, 4), torch.zeros(2, 1, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((X[0], WEIGHT), {}, r"got \[2, 4, 4\] float32 on cpu. A single image needs x\[None\]"),
        ((X.int(), WEIGHT.int()), {}, "floating-point"),
        ((X, torch.zeros(4, 1, 3, 3)), {}, r"must be \[2, 1, R, K\].*got \[4, 1, 3, 3\]"),
        ((X, torch.zeros(2, 2, 3, 3)), {}, "not depthwise"),
        ((X, torch.zeros(2, 1, 4, 4)), {}, "odd sizes from 1 to 31"),
        ((X, torch.zeros(2, 1, 3, 6)), {}, "odd sizes"),
        ((X, WEIGHT, None, X[:, :, 1:]), {}, r"residual must be \[1, 2, 4, 4\].*\[1, 2, 3, 4\]"),
        ((X, WEIGHT, None, X), {"stride": 2}, r"residual must be \[1, 2, 2, 2\].*stride 2"),
        ((X, WEIGHT, None, X.half()), {}, "residual must have the dtype and device of x"),
        ((X, torch.zeros(2, 1, 33, 33)), {}, r"got \[2, 1, 33, 33\]"),
        ((X, WEIGHT, torch.zeros(1)), {}, r"bias must be \[2\].*got \[1\]"),
        ((X, WEIGHT.half()), {}, "weight must have the dtype and device of x"),
        ((X, WEIGHT), {"stride": 0}, "stride must be at least 1 pixel; got 0"),
        ((X, WEIGHT), {"dilation": 0}, "dilation must be at least 1"),
        ((X, WEIGHT), {"activation": "tanh"}, "none, relu, gelu, silu, .*; got 'tanh'"),
        ((X, WEIGHT), {"backend": "cuda"}, "auto, plain, triton; got 'cuda'"),
    ],
)
def test_faulty_arguments_say_what_must_hold(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        depthwise_conv2d(*arguments, **settings)


def test_forcing_triton_names_the_shapes_and_what_is_served():
    with pytest.raises(NotImplementedError) as caught:
        depthwise_conv2d(X, WEIGHT, backend="triton")
    text = str(caught.value)
    assert "x [1, 2, 4, 4] float32 on cpu with weight [2, 1, 3, 3]" in text
    assert "compute capability 8.0 or later" in text
    assert "backend='auto'" in text


def test_works_where_triton_is_not_installed():
    code = """
import sys
sys.modules["triton"] = None
import torch
from kernels.depthwise_conv import depthwise_conv2d
import kernels.aot
x, weight = torch.zeros(1, 2, 4, 4), torch.zeros(2, 1, 3, 3)
assert depthwise_conv2d(x, weight).shape == x.shape
assert "kernels.depthwise_conv_triton" not in sys.modules
try:
    depthwise_conv2d(x, weight, backend="triton")
except NotImplementedError as error:
    assert "pip install" in str(error), error
else:
    raise AssertionError("no error")
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("capability", [(0, 0), (8, 0), (8, 9), (9, 0), (12, 0)])
def test_every_device_and_shape_has_blocks(capability, channels_last):
    for kernel in range(1, 32, 2):
        for batch, width in ((1, 1), (1, 56), (64, 14), (64, 15), (64, 224)):
            shape = (batch, 96, width, width)
            tiling = tiling_for(capability, (kernel, 1), shape, channels_last=channels_last)
            summing = blocks_for("weight_grad", capability, kernel, width)
            for blocks in (tiling.blocks, summing):
                for number in (blocks.rows, blocks.columns, blocks.channels, blocks.warps):
                    assert number & (number - 1) == 0
            assert tiling.programs > 0


def test_a_small_map_is_cut_into_more_programs():
    shape = (1, 384, 14, 14)
    small = tiling_for((8, 0), (7, 7), shape, channels_last=True)
    assert small.programs > tiling_for((8, 0), (7, 7), shape, channels_last=True, few=0).programs
    # One launch: nothing is packed, and channels-first is read where it is.
    first = tiling_for((8, 0), (7, 7), shape, channels_last=False)
    assert (small.packed, first.packed, first.channels_last) == (False, False, False)


def test_large_channels_first_maps_are_copied_unless_the_kernel_is_small():
    shape = (64, 96, 56, 56)
    assert tiling_for((8, 0), (7, 7), shape, channels_last=False).channels_last
    assert not tiling_for((8, 0), (3, 3), shape, channels_last=False).channels_last


def test_a_later_device_takes_the_latest_blocks_known():
    assert blocks_for("gather", (12, 0), 7, 56) == blocks_for("gather", (9, 0), 7, 56)
    assert blocks_for("gather", (8, 9), 7, 56) == blocks_for("gather", (8, 0), 7, 56)
    assert blocks_for("gather", (8, 0), 7, 56) != blocks_for("gather", (9, 0), 7, 56)
