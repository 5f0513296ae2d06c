"""The plain matrix product, the choice of a backend, the errors and the blocks.

Its Triton kernels are tested in `catalogue_interpreted.py` and `gemm_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernels.gemm import gemm, pointwise_conv2d
from kernels.gemm_blocks import PROGRAMS, blocks_for, plan_for


def test_it_is_a_linear_layer_and_what_follows():
    layer = nn.Linear(6, 5)
    x, residual = torch.randn(2, 3, 6), torch.randn(2, 3, 5)
    y = gemm(x, layer.weight, layer.bias, residual, activation="gelu")
    torch.testing.assert_close(y, nn.functional.gelu(layer(x)) + residual)


def test_a_pointwise_convolution_is_a_convolution():
    layer = nn.Conv2d(4, 7, 1)
    x = torch.randn(2, 4, 3, 5)
    y = pointwise_conv2d(x, layer.weight, layer.bias, activation="relu")
    torch.testing.assert_close(y, layer(x).relu())


@pytest.mark.parametrize("autocast", [False, True])
def test_sums_are_float32_even_under_autocast(autocast):
    # 1,000 ones: a bfloat16 sum would stop at 256.
    x = torch.ones(1, 1000, dtype=torch.float32 if autocast else torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        y = gemm(x, torch.ones(1, 1000, dtype=x.dtype))
    assert y.item() == 1000


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_meta_device_has_the_shape(dtype):
    x = torch.empty(2, 3, 7, device="meta", dtype=dtype)
    y = gemm(x, torch.empty(5, 7, device="meta", dtype=dtype))
    assert (y.shape, y.dtype, y.device.type) == ((2, 3, 5), dtype, "meta")


def test_no_rows_give_an_empty_output():
    assert gemm(torch.zeros(0, 3), torch.zeros(2, 3)).shape == (0, 2)


X, WEIGHT = torch.zeros(2, 4), torch.zeros(3, 4)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((X.int(), WEIGHT.int()), {}, "floating-point"),
        ((X[:, :0], WEIGHT[:, :0]), {}, r"K at least 1; got \[2, 0\]"),
        ((X, WEIGHT.t()), {}, r"must be \[N, 4\].*got \[4, 3\].*needs .t\(\)"),
        ((X, WEIGHT, torch.zeros(4)), {}, r"bias must be \[3\]; got \[4\]"),
        ((X, WEIGHT, None, X), {}, r"residual must be \[2, 3\].*got \[2, 4\]"),
        ((X, WEIGHT.half()), {}, "weight must have the dtype and device of x"),
        ((X, WEIGHT), {"activation": "tanh"}, "none, relu, gelu, silu, .*; got 'tanh'"),
        ((X, WEIGHT), {"backend": "cuda"}, "auto, plain, triton; got 'cuda'"),
    ],
)
def test_faulty_arguments_say_what_must_hold(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        gemm(*arguments, **settings)


@pytest.mark.parametrize(
    ("weight", "residual", "message"),
    [
        (torch.zeros(3, 2, 3, 3), None, "Larger kernels belong to dense_conv"),
        (torch.zeros(3, 2, 1, 1), torch.zeros(1, 2, 4, 4), r"residual must be \[1, 3, 4, 4\]"),
    ],
)
def test_faulty_pixels_say_what_must_hold(weight, residual, message):
    with pytest.raises(ValueError, match=message):
        pointwise_conv2d(torch.zeros(1, 2, 4, 4), weight, None, residual)


def test_forcing_triton_names_the_shapes_and_what_is_served():
    pytest.importorskip("triton")
    with pytest.raises(NotImplementedError) as caught:
        gemm(X, WEIGHT, backend="triton")
    text = str(caught.value)
    assert "x [2, 4] float32 on cpu with weight [3, 4]" in text
    assert "compute capability 8.0 or later" in text
    assert "backend='auto'" in text


@pytest.mark.parametrize("capability", [(0, 0), (8, 0), (8, 9), (9, 0), (12, 0)])
@pytest.mark.parametrize("bytes_each", [1, 2, 4])
def test_every_device_and_shape_has_blocks(capability, bytes_each):
    for rows in (1, 16, 17, 32, 33, 10**6):
        blocks = blocks_for(capability, bytes_each, rows, 1024)
        for number in (blocks.rows, blocks.columns, blocks.inner, blocks.warps):
            assert number & (number - 1) == 0


@pytest.mark.parametrize(
    ("rows", "columns", "inner"), [(1, 1, 1), (1, 1024, 4096), (49, 512, 4608), (10**5, 64, 27)]
)
def test_the_splits_cover_the_inner_dimension_once(rows, columns, inner):
    plan = plan_for((8, 0), 2, rows, columns, inner)
    assert (plan.splits - 1) * plan.split_inner < inner <= plan.splits * plan.split_inner
    assert plan.split_inner % plan.blocks.inner == 0


def test_few_tiles_are_split_until_they_fill_the_device():
    assert plan_for((8, 0), 2, 1, 1024, 16384).programs == PROGRAMS
    assert plan_for((8, 0), 2, 4096, 4096, 16384).splits == 1


@pytest.mark.parametrize(("columns", "wanted"), [(3, 16), (24, 32), (64, 64), (65, 128)])
def test_a_block_is_no_wider_than_the_output(columns, wanted):
    assert blocks_for((8, 0), 2, 10**6, columns).columns == wanted


@pytest.mark.parametrize(("inner", "wanted"), [(8, 16), (32, 32), (72, 32), (96, 32), (1000, 64)])
def test_a_step_wastes_little_of_the_inner_dimension(inner, wanted):
    assert plan_for((8, 0), 2, 4096, 1024, inner).blocks.inner == wanted
