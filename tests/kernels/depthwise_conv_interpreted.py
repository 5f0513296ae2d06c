"""What the catalogue's cases do not say of the Triton depthwise convolution.

`test_in_interpreter.py` runs this file in a process of its own with TRITON_INTERPRET=1: the
variable must be set before Triton is imported, and other tests need it unset.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels import depthwise_conv_triton
from kernels.check import check_case
from kernels.depthwise_conv import depthwise_conv2d, depthwise_conv2d_plain
from kernels.depthwise_conv_blocks import gather_constants, tiling_for
from kernels.depthwise_conv_cases import DEPTHWISE_CONV
from kernels.depthwise_forward_triton import depthwise_forward_kernel
from kernels.operation import Case

NAMES = ("x", "weight", "bias")


def make(
    shape: tuple[int, ...], kernel: int, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (shape, (shape[1], 1, kernel, kernel), (shape[1],))
    x, weight, bias = (torch.randn(size, generator=generator).to(dtype) for size in sizes)
    return x, weight, bias


def test_weight_gradient_with_several_tiles_a_split(monkeypatch):
    monkeypatch.setattr(depthwise_conv_triton, "_WEIGHT_GRAD_PROGRAMS", 6)
    case = Case(
        name="", why="", make=lambda *_: dict(zip(NAMES, make((3, 2, 7, 5), 3), strict=True))
    )
    outcome = check_case(DEPTHWISE_CONV, case, torch.float32, "cpu")
    assert outcome.passed, outcome


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("kernel", [3, 5])
def test_output_and_gradient_have_the_layout_of_the_input(layout, kernel):
    x, weight, bias = make((2, 4, 5, 5), kernel)
    x = x.contiguous(memory_format=layout).requires_grad_()
    y = depthwise_conv2d(x, weight, bias, backend="triton")
    assert y.is_contiguous(memory_format=layout)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("kernel", [3, 5, 9])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_small_blocks_of_few_programs(layout, kernel, monkeypatch):
    monkeypatch.setattr(depthwise_conv_triton, "_FEW", 10**9)

    def made(generator, dtype, device):
        x, weight, bias = make((1, 5, 5, 4), kernel)
        return {"x": x.contiguous(memory_format=layout), "weight": weight, "bias": bias}

    case = Case(name="", why="", make=made)
    outcome = check_case(DEPTHWISE_CONV, case, torch.float32, "cpu")
    assert outcome.passed, outcome


def test_only_the_gradients_asked_for():
    x, weight, bias = make((1, 2, 4, 4), 3)
    weight.requires_grad_()
    depthwise_conv2d(x, weight, bias, backend="triton").sum().backward()
    assert (x.grad, bias.grad) == (None, None)
    assert weight.grad is not None


def test_an_impulse_returns_the_kernel_turned_round():
    _, weight, _ = make((1, 2, 5, 5), 5)
    x = torch.zeros(1, 2, 5, 5)
    x[:, :, 2, 2] = 1
    y = depthwise_conv2d(x, weight, backend="triton")
    assert torch.equal(y[0], weight[:, 0].flip(1, 2))


def test_a_nan_reaches_exactly_what_sees_it():
    x, weight, bias = make((1, 2, 6, 6), 3)
    x[0, 1, 0, 3] = float("nan")
    y = depthwise_conv2d(x, weight, bias, activation="relu", backend="triton")
    seen = torch.zeros_like(x, dtype=torch.bool)
    seen[0, 1, :2, 2:5] = True
    assert torch.equal(y.isnan(), seen)


def test_a_nan_gradient_reaches_the_pixels_that_were_seen():
    x, weight, _ = make((1, 1, 5, 5), 3)
    x.requires_grad_()
    y = depthwise_conv2d(x, weight, stride=2, backend="triton")
    grad = torch.ones_like(y)
    grad[0, 0, 1, 1] = float("nan")
    y.backward(grad)
    seen = torch.zeros(5, 5, dtype=torch.bool)
    seen[1:4, 1:4] = True
    assert x.grad is not None
    assert torch.equal(x.grad[0, 0].isnan(), seen)


def test_images_past_two_to_the_31_elements():
    """The stride of an image is 2^30 elements: the third starts past 32-bit offsets."""
    stride, size = 2**30, 9
    x = torch.empty(2 * stride + size, dtype=torch.float16)  # Only the pages used take memory.
    images = x.as_strided((3, 1, 3, 3), (stride, 1, 3, 1))
    source, weight, _ = make((3, 1, 3, 3), 3, torch.float16)
    images.copy_(source)
    y = torch.empty(3, 1, 3, 3, dtype=torch.float16)
    tiling = tiling_for((0, 0), (3, 3), (3, 1, 3, 3), channels_last=True, few=0)
    depthwise_forward_kernel[(3,)](
        *(x, weight.flatten(), None, None, y, None),
        *(stride, size, 3, 3, 1, 3, 3),
        **gather_constants((3, 3), 1, 1, tiling),
        **{"ACTIVATION": "none", "PACKED": True},
    )
    torch.testing.assert_close(y, depthwise_conv2d_plain(source, weight), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("empty", [True, False])
def test_what_is_not_served_is_refused(empty):
    x, weight, _ = make((0 if empty else 1, 2, 3, 3), 3)
    if not empty:
        x, weight = x.double(), weight.double()
    with pytest.raises(NotImplementedError, match="empty tensor" if empty else "dtype"):
        depthwise_conv2d(x, weight, backend="triton")
    assert depthwise_conv2d(x, weight).shape == x.shape
