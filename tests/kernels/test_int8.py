"""The plain products of 8-bit operands, the choice of a backend, and the errors.

Their Triton kernels are tested in `catalogue_interpreted.py` and `int8_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kernels.fp8_gemm import fp8_gemm
from kernels.int8_conv import int8_conv2d
from kernels.int8_gemm import int8_gemm, overflows


def test_steps_and_zero_points_mean_values():
    x = torch.randint(-128, 128, (4, 6), dtype=torch.int8)
    weight = torch.randint(-128, 128, (3, 6), dtype=torch.int8)
    scales, bias = torch.tensor([0.01, 0.02, 0.03]), torch.randn(3)
    wanted = functional.linear(0.02 * (x.float() - 5), scales[:, None] * weight.float(), bias)
    arguments = (x, weight, torch.tensor(0.02), scales, bias)
    y = int8_gemm(*arguments, x_zero_point=5, activation="gelu", dtype=torch.float32)
    torch.testing.assert_close(y, functional.gelu(wanted))
    y = int8_gemm(*arguments, x_zero_point=5, y_scale=0.05, y_zero_point=-3)
    steps = (wanted / 0.05).round() - 3
    assert (y - steps.clamp(-128, 127)).abs().max() <= 1


@pytest.mark.parametrize(("inner", "zero"), [(131071, 0), (65793, 1)])
def test_sums_fit_32_bits_up_to_a_known_size(inner, zero):
    assert inner * 128 * (255 if zero else 128) < 2**31
    assert not overflows(inner, zero)
    assert overflows(inner + 1, zero)


def test_every_row_may_have_its_scale():
    x = torch.randint(-128, 128, (2, 3, 4), dtype=torch.int8)
    weight = torch.randint(-128, 128, (5, 4), dtype=torch.int8)
    scale = torch.rand(2, 3)
    y = int8_gemm(x, weight, scale, torch.ones(5), dtype=torch.float32)
    torch.testing.assert_close(y, scale[..., None] * (x.float() @ weight.float().t()))
    assert torch.equal(
        y, int8_gemm(x, weight, scale[..., None], torch.ones(5), dtype=torch.float32)
    )


def test_padding_means_zero_whatever_the_zero_point():
    x = torch.full((1, 1, 3, 3), -100, dtype=torch.int8)
    weight = torch.ones(1, 1, 3, 3, dtype=torch.int8)
    one = torch.ones(1)
    y = int8_conv2d(x, weight, one, one, padding=1, x_zero_point=-100, dtype=torch.float32)
    assert not y.any()


def test_the_meta_device_has_the_shape():
    x = torch.empty(2, 3, 7, 9, device="meta", dtype=torch.int8)
    weight = torch.empty(4, 3, 3, 3, device="meta", dtype=torch.int8)
    one, scales = torch.empty(1, device="meta"), torch.empty(4, device="meta")
    y = int8_conv2d(x, weight, one, scales, stride=2, dtype=torch.bfloat16)
    assert (y.shape, y.dtype) == ((2, 4, 3, 4), torch.bfloat16)
    y = int8_gemm(x, torch.empty(4, 9, device="meta", dtype=torch.int8), one, scales, y_scale=1.0)
    assert (y.shape, y.dtype) == ((2, 3, 7, 4), torch.int8)


X, W = torch.zeros(2, 4, dtype=torch.int8), torch.zeros(3, 4, dtype=torch.int8)
ONE, SCALES = torch.ones(1), torch.ones(3)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((X.float(), W, ONE, SCALES), {}, "x must be int8; got .* float32"),
        ((X, W.float(), ONE, SCALES), {}, "weight must be int8"),
        ((X, W.t(), ONE, SCALES), {}, r"must be \[N, 4\].*needs .t\(\)"),
        ((X[:, :0], W[:, :0], ONE, SCALES), {}, "K at least 1"),
        ((X, W, SCALES, SCALES), {}, r"one element or the shape \[2\]; got \[3\]"),
        ((X, W, ONE, ONE), {}, r"weight_scale must be \[3\]; got \[1\]"),
        ((X, W, ONE.half(), SCALES), {}, "x_scale must be float32"),
        ((X, W, ONE, SCALES, ONE), {}, r"bias must be \[3\]"),
        ((X, W, ONE, SCALES.to("meta")), {}, "weight_scale must be on the device of x"),
        ((X, W, ONE, SCALES), {"x_zero_point": 128}, "from -128 to 127; got 128"),
        ((X, W, ONE, SCALES), {"weight_sum": SCALES}, r"weight_sum must be \[3\] in int32"),
        ((X, W, ONE, SCALES), {"y_scale": 0.0}, "above 0; got 0.0"),
        ((X, W, ONE, SCALES), {"y_scale": float("nan")}, "above 0; got nan"),
        ((X, W, ONE, SCALES), {"dtype": torch.float64}, "got torch.float64"),
        ((X, W, ONE, SCALES), {"activation": "tanh"}, "got 'tanh'"),
        ((X, W, ONE, SCALES), {"backend": "cuda"}, "got 'cuda'"),
    ],
)
def test_faulty_arguments_say_what_must_hold(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        int8_gemm(*arguments, **settings)


def test_a_convolution_has_one_scale_for_its_input():
    x, weight = torch.zeros(2, 1, 3, 3, dtype=torch.int8), torch.zeros(3, 1, 3, 3, dtype=torch.int8)
    with pytest.raises(ValueError, match="x_scale must have one element"):
        int8_conv2d(x, weight, torch.ones(2), SCALES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, W, ONE, SCALES), "x must be float8_e4m3fn"),
        ((X.to(torch.float8_e4m3fn), W, ONE, SCALES), "weight must be float8_e4m3fn"),
    ],
)
def test_faulty_float8_says_what_must_hold(arguments, message):
    with pytest.raises(ValueError, match=message):
        fp8_gemm(*arguments)


def test_forcing_triton_names_the_shapes_and_what_is_served():
    pytest.importorskip("triton")
    with pytest.raises(NotImplementedError, match=r"x \[2, 4\] int8 on cpu with weight \[3, 4\]"):
        int8_gemm(X, W, ONE, SCALES, backend="triton")


def test_float8_has_no_kernel_for_an_a100():
    pytest.importorskip("triton")
    from kernels.int8_sources import fp8_gemm_sources

    with pytest.raises(ValueError, match=r"8\.9 or later"):
        fp8_gemm_sources(capability=(8, 0), dtype=torch.float16, shape=(1, 1, 1))
