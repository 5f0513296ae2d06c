"""What the catalogue's cases do not say of the Triton dense convolution.

`test_in_interpreter.py` runs this file in a process of its own with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import pytest
import torch

from kernels.dense_conv import dense_conv2d, dense_conv2d_plain
from kernels.dense_conv_triton import convolve
from kernels.epilogue_triton import Epilogue


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_output_is_channels_last():
    y = dense_conv2d(draw(2, 3, 5, 5), draw(4, 3, 3, 3), backend="triton")
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_an_impulse_returns_the_kernels_turned_round():
    weight = draw(3, 2, 5, 5)
    x = torch.zeros(1, 2, 5, 5)
    x[0, 1, 2, 2] = 1
    y = dense_conv2d(x, weight, padding=2, backend="triton")
    assert torch.equal(y[0], weight[:, 1].flip(1, 2))


@pytest.mark.parametrize("dilation", [1, 2])
def test_a_nan_reaches_exactly_what_sees_it(dilation):
    x, weight = draw(1, 3, 7, 7), draw(2, 3, 3, 3)
    x[0, 1, 0, 3] = float("nan")
    steps = {"padding": 1, "dilation": dilation}
    y = dense_conv2d(x, weight, **steps, backend="triton")
    assert torch.equal(y.isnan(), dense_conv2d_plain(x, weight, **steps).isnan())


@pytest.mark.parametrize("wanted", [0, 1, 2, 3])
def test_only_the_gradients_asked_for(wanted):
    tensors = [draw(1, 2, 4, 4), draw(3, 2, 3, 3), draw(3), draw(1, 3, 2, 2)]
    tensors[wanted].requires_grad_()
    dense_conv2d(*tensors, activation="relu", backend="triton").sum().backward()
    assert [tensor.grad is not None for tensor in tensors] == [i == wanted for i in range(4)]


def test_images_past_two_to_the_31_elements():
    """The images are 2^30 elements apart: the third starts past 32-bit offsets."""
    memory = torch.empty(2 * 2**30 + 9, dtype=torch.float16)  # Only the pages used take memory.
    x = memory.as_strided((3, 1, 3, 3), (2**30, 1, 3, 1))
    source, weight = draw(3, 1, 3, 3).half(), draw(2, 1, 3, 3, seed=1).half()
    x.copy_(source)
    y = torch.empty(3, 2, 3, 3, dtype=torch.float16).contiguous(memory_format=torch.channels_last)
    convolve(x, weight, y, Epilogue(), stride=1, padding=1, dilation=1)
    wanted = dense_conv2d_plain(source, weight, padding=1)
    torch.testing.assert_close(y, wanted, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("empty", [True, False])
def test_what_is_not_served_is_refused(empty):
    x, weight = draw(0 if empty else 1, 2, 3, 3), draw(2, 2, 3, 3)
    if not empty:
        x, weight = x.double(), weight.double()
    with pytest.raises(NotImplementedError, match="empty tensor" if empty else "dtype"):
        dense_conv2d(x, weight, backend="triton")
    assert dense_conv2d(x, weight).shape == (x.shape[0], 2, 1, 1)
