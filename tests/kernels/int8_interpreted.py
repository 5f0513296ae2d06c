"""What the catalogue's cases do not say of the Triton products of 8-bit operands.

`test_in_interpreter.py` runs this file in a process of its own with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels.fp8_gemm import fp8_gemm
from kernels.int8_conv import int8_conv2d
from kernels.int8_gemm import int8_gemm, int8_gemm_plain


def steps(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-128, 128, shape, generator=generator, dtype=torch.int8)


ONE = torch.ones(())


@pytest.mark.parametrize("zero", [0, -128, 127])
def test_products_are_exact(zero):
    x, weight = steps(3, 290), steps(4, 290, seed=1)
    y = int8_gemm(
        x, weight, ONE, torch.ones(4), x_zero_point=zero, dtype=torch.float32, backend="triton"
    )
    assert torch.equal(y.int(), (x.int() - zero) @ weight.int().t())


@pytest.mark.parametrize("zero", [0, -5])
def test_convolutions_are_exact(zero):
    x, weight = steps(1, 3, 5, 4), steps(2, 3, 3, 3, seed=1)
    y = int8_conv2d(
        *(x, weight, ONE, torch.ones(2)),
        padding=1,
        x_zero_point=zero,
        dtype=torch.float32,
        backend="triton",
    )
    wanted = torch.nn.functional.conv2d((x.int() - zero).double(), weight.double(), padding=1)
    assert torch.equal(y.double(), wanted)


def test_requantising_rounds_half_to_even_and_stops_at_the_ends():
    x = torch.tensor([[1], [3], [5], [-1], [-3], [127], [-128]], dtype=torch.int8)
    weight = torch.tensor([[1], [4]], dtype=torch.int8)
    y = int8_gemm(x, weight, ONE, torch.ones(2), y_scale=2.0, backend="triton")
    assert y.dtype == torch.int8
    assert y[:, 0].tolist() == [0, 2, 2, 0, -2, 64, -64]
    assert y[:, 1].tolist() == [2, 6, 10, -2, -6, 127, -128]


def test_the_output_zero_point_is_added_behind_the_rounding():
    x = torch.tensor([[1], [3], [127], [-128]], dtype=torch.int8)
    weight = torch.tensor([[1]], dtype=torch.int8)
    settings = {"y_scale": 2.0, "y_zero_point": -127}
    y = int8_gemm(x, weight, ONE, torch.ones(1), **settings, backend="triton")
    assert y.flatten().tolist() == [-127, -125, -63, -128]
    assert torch.equal(y, int8_gemm_plain(x, weight, ONE, torch.ones(1), **settings))


def test_known_sums_of_the_weight_are_used():
    x, weight = steps(2, 7), steps(3, 7, seed=1)
    arguments = (x, weight, ONE, torch.ones(3))
    settings = {"x_zero_point": 3, "dtype": torch.float32, "backend": "triton"}
    sums = weight.sum(1, dtype=torch.int32)
    known = int8_gemm(*arguments, weight_sum=sums, **settings)
    assert torch.equal(known, int8_gemm(*arguments, **settings))


def test_what_would_wrap_is_refused():
    x = torch.zeros(1, 65794, dtype=torch.int8)
    with pytest.raises(NotImplementedError, match=r"K 65794.*sums cannot leave 32 bits"):
        int8_gemm(x, x, ONE, torch.ones(1), x_zero_point=1, backend="triton")
    x = torch.zeros(1, 2700, 7, 7, dtype=torch.int8)
    with pytest.raises(NotImplementedError, match="C · K · K 132300"):
        int8_conv2d(x, x, ONE, torch.ones(1), backend="triton")


def test_an_empty_tensor_is_refused():
    x, weight = torch.zeros(0, 4).to(torch.float8_e4m3fn), torch.zeros(2, 4).to(torch.float8_e4m3fn)
    with pytest.raises(NotImplementedError, match="empty tensor"):
        fp8_gemm(x, weight, ONE, torch.ones(2), backend="triton")
    assert fp8_gemm(x, weight, ONE, torch.ones(2)).shape == (0, 2)


def test_gradients_are_left_to_torch():
    x, weight, bias = steps(2, 4), steps(3, 4, seed=1), torch.zeros(3, requires_grad=True)
    arguments = (x, weight, ONE, torch.ones(3), bias)
    with pytest.raises(NotImplementedError, match=r"a gradient, of which torch.no_grad\(\)"):
        int8_gemm(*arguments, backend="triton")
    with torch.no_grad():
        y = int8_gemm(*arguments, dtype=torch.float32, backend="triton")
    assert torch.equal(y, int8_gemm(*arguments, dtype=torch.float32).detach())
