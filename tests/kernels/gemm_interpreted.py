"""What the catalogue's cases do not say of the Triton matrix product.

`test_in_interpreter.py` runs this file in a process of its own with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import pytest
import torch

from kernels.gemm import gemm, pointwise_conv2d


def draw(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_an_identity_returns_its_input():
    x = draw(18, 40)
    assert torch.equal(gemm(x, torch.eye(40), backend="triton"), x)


def test_a_split_sum_is_the_same_every_time():
    x, weight = draw(2, 400), draw(3, 400, seed=1)
    assert torch.equal(gemm(x, weight, backend="triton"), gemm(x, weight, backend="triton"))


@pytest.mark.parametrize("wanted", [0, 1, 2, 3])
def test_only_the_gradients_asked_for(wanted):
    tensors = [draw(3, 4), draw(5, 4), draw(5), draw(3, 5)]
    tensors[wanted].requires_grad_()
    gemm(*tensors, activation="relu", backend="triton").sum().backward()
    assert [tensor.grad is not None for tensor in tensors] == [i == wanted for i in range(4)]


def test_a_nan_reaches_its_row_only():
    x = draw(4, 5)
    x[2, 3] = float("nan")
    y = gemm(x, draw(6, 5), activation="relu", backend="triton")
    assert y[2].isnan().all()
    assert y[[0, 1, 3]].isfinite().all()


def test_a_nan_beyond_the_inner_dimension_is_not_seen():
    wide = torch.full((4, 64), float("nan"))
    wide[:, :20] = draw(4, 20)
    weight = torch.full((3, 64), float("nan"))
    weight[:, :20] = draw(3, 20)
    assert gemm(wide[:, :20], weight[:, :20], backend="triton").isfinite().all()


def test_rows_past_two_to_the_31_elements():
    """The rows are 2^30 elements apart: the third starts past 32-bit offsets."""
    memory = torch.empty(2 * 2**30 + 8, dtype=torch.float16)  # Only the pages used take memory.
    x = memory.as_strided((3, 8), (2**30, 1))
    x.copy_(draw(3, 8))
    y = gemm(x, torch.eye(8, dtype=torch.float16), backend="triton")
    assert torch.equal(y, x)


def test_a_pointwise_convolution_stays_channels_last():
    x = draw(2, 4, 5, 3).contiguous(memory_format=torch.channels_last)
    y = pointwise_conv2d(x, draw(6, 4, 1, 1), backend="triton")
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("x", "message"),
    [(torch.zeros(0, 4), "empty tensor"), (torch.zeros(2, 4, dtype=torch.float64), "dtype")],
)
def test_what_is_not_served_is_refused(x, message):
    weight = torch.zeros(3, 4, dtype=x.dtype)
    with pytest.raises(NotImplementedError, match=message):
        gemm(x, weight, backend="triton")
    assert gemm(x, weight).shape == (x.shape[0], 3)
