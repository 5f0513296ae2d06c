"""The Triton depthwise convolution in Triton's interpreter, against the plain version.

`test_depthwise_conv.py` runs this file in a process of its own with TRITON_INTERPRET=1: the
variable must be set before Triton is imported, and other tests need it unset.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels import depthwise_conv_triton
from kernels.depthwise_conv import ACTIVATIONS, depthwise_conv2d, depthwise_conv2d_plain
from kernels.depthwise_conv_blocks import fused_constants, gather_constants

# Against float32 arithmetic on the same inputs: (relative, absolute as a share of the largest).
TOLERANCES: dict[torch.dtype, tuple[float, float]] = {
    torch.float32: (1e-5, 1e-6),
    torch.float16: (2e-3, 1e-3),
    torch.bfloat16: (1.6e-2, 8e-3),
}

# Shape, kernel, stride, dilation; each with its reason.
CASES = {
    "one channel": ((1, 1, 5, 4), 3, 1, 1),
    "one pixel": ((2, 3, 1, 1), 3, 1, 1),
    "channels past one block": ((2, 33, 4, 3), 3, 1, 1),
    "fewer rows than taps": ((1, 3, 2, 9), 5, 1, 1),
    "stride 2, odd size": ((1, 4, 7, 9), 5, 2, 1),
    "stride 2, even size": ((1, 4, 8, 6), 3, 2, 1),
    "stride past the kernel": ((1, 2, 9, 8), 3, 4, 1),
    "stride 3 and dilation 2": ((2, 2, 8, 7), 3, 3, 2),
    "dilation past the map": ((1, 2, 4, 4), 3, 1, 5),
    "several tiles both ways, wide": ((1, 2, 9, 17), 3, 1, 1),
    "several tiles both ways, narrow": ((1, 2, 9, 9), 3, 1, 1),
    "kernel of 31 past the map": ((1, 2, 3, 4), 31, 1, 1),
}


def make(
    shape: tuple[int, ...], kernel: int, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (shape, (shape[1], 1, kernel, kernel), (shape[1],))
    x, weight, bias = (torch.randn(size, generator=generator).to(dtype) for size in sizes)
    return x, weight, bias


def outcome(function, tensors: tuple[Tensor, ...], **settings) -> tuple[Tensor, ...]:
    """Return output and gradients, in float32, for a fixed gradient of the output."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    y = function(*leaves, **settings)
    generator = torch.Generator().manual_seed(1)
    # Values that every dtype holds exactly.
    y.backward((torch.randn(y.shape, generator=generator) * 8).round().div(8).to(y.dtype))
    return tuple(t.detach().float() for t in (y, *(leaf.grad for leaf in leaves)))


def check(tensors: tuple[Tensor, ...], **settings) -> None:
    expected = outcome(depthwise_conv2d_plain, tuple(t.float() for t in tensors), **settings)
    actual = outcome(depthwise_conv2d, tensors, backend="triton", **settings)
    relative, share = TOLERANCES[tensors[0].dtype]
    for name, got, wanted in zip(("y", "x", "weight", "bias"), actual, expected, strict=False):
        scale = float(wanted.abs().max())
        torch.testing.assert_close(
            got, wanted, rtol=relative, atol=share * scale, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_the_interpreter_is_on():
    assert depthwise_conv_triton.INTERPRETED


@pytest.mark.parametrize("case", CASES)
def test_output_and_gradients(case):
    shape, kernel, stride, dilation = CASES[case]
    check(make(shape, kernel), stride=stride, dilation=dilation)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_in_every_dtype(activation, dtype):
    check(make((1, 5, 5, 4), 3, dtype), activation=activation)


def test_without_bias():
    x, weight, _ = make((1, 3, 4, 4), 3)
    check((x, weight))


def test_weight_gradient_with_several_tiles_a_split(monkeypatch):
    monkeypatch.setattr(depthwise_conv_triton, "_WEIGHT_GRAD_PROGRAMS", 6)
    check(make((3, 2, 7, 5), 3))


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced"])
def test_any_memory_layout(layout):
    x, weight, bias = make((2, 4, 5, 5), 3)
    x = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(2, 3),
        "sliced": torch.cat([x, x], dim=1)[:, 2:6],
    }[layout]
    y = depthwise_conv2d(x, weight, bias, backend="triton")
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, depthwise_conv2d_plain(x, weight, bias), rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_extreme_values_reach_what_sees_them(value, activation):
    x, weight, bias = make((1, 2, 6, 6), 3)
    x[0, 1, 0, 3] = value
    y = depthwise_conv2d(x, weight, bias, activation=activation, backend="triton")
    wanted = depthwise_conv2d_plain(x, weight, bias, activation=activation)
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-5, equal_nan=True)
    if value != value:
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
    blocks = depthwise_conv_triton.blocks_for("gather", (0, 0), 3, 3)
    depthwise_conv_triton.depthwise_forward_kernel[(3,)](
        *(x, weight.flatten(), y, y, y),
        *(stride, size, 3, 3, 1, 3, 3),
        **gather_constants(3, 1, 1, blocks),
        **fused_constants("none", has_bias=False, save_pre=False),
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
