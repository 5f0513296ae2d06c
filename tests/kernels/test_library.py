"""The operators agree with their schema, with their meaning and with what fake tensors promise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from kernels.library import MEANINGS, OPERATORS

_GENERATOR = torch.Generator().manual_seed(0)


def values(*shape: int) -> Tensor:
    return torch.randn(shape, generator=_GENERATOR)


def _image(channels: int = 6, last: bool = False) -> Tensor:
    x = values(2, channels, 5, 7)
    return x.contiguous(memory_format=torch.channels_last) if last else x


_CHECKS = (
    *("test_schema", "test_autograd_registration", "test_faketensor"),
    "test_aot_dispatch_static",
)
CASES = {
    "depthwise_conv2d": (
        (_image(last=True), values(6, 1, 3, 5), values(6), values(2, 6, 3, 4)),
        {"stride": 2, "activation": "gelu"},
    ),
    "pointwise_conv2d": (
        (_image(), values(4, 6, 1, 1), None, values(2, 4, 5, 7)),
        {"activation": "relu"},
    ),
    "dense_conv2d": (
        (_image(), values(4, 6, 3, 3), values(4)),
        {"stride": 2, "padding": 2, "dilation": 2, "activation": "silu"},
    ),
    "gemm": ((values(3, 5, 6), values(4, 6), values(4)), {"activation": "silu"}),
    "layer_norm": (
        (_image(last=True), values(6), values(6)),
        {"channel_dim": 1, "activation": "gelu"},
    ),
    "rms_norm": ((_image(), values(6)), {"eps": 1e-3, "channel_dim": 1}),
    "batch_norm": ((_image(), values(6), values(6).square(), values(6), values(6)), {}),
    "squeeze_excite": (
        (_image(last=True), values(4, 6), values(4), values(6, 4), values(6)),
        {"activation": "silu"},
    ),
    "eca": ((_image(), values(3)), {}),
    "inception_depthwise_conv2d": (
        (_image(8), values(2, 1, 3, 3), values(2, 1, 1, 5), values(2, 1, 5, 1), values(2)),
        {},
    ),
    "attention": (
        (values(4, 2, 5, 8), values(4, 2, 5, 8), values(4, 2, 5, 8), values(2, 1, 5, 5)),
        {"causal": True},
    ),
    "max_pool2d": ((_image(last=True), 3), {"stride": 2, "padding": 1}),
    "average_pool2d": ((_image(), 3), {"padding": 1, "count_include_pad": False}),
    "global_average_pool": ((_image(last=True),), {}),
    "gem_pool": ((_image(), torch.tensor([3.0])), {}),
}


def test_every_operator_is_tested() -> None:
    assert set(CASES) == set(OPERATORS)


@pytest.mark.parametrize("name", CASES)
def test_operators_are_sound(name: str) -> None:
    args, options = CASES[name]
    operator = OPERATORS[name]
    torch.library.opcheck(operator, args, options, test_utils=_CHECKS)
    y = operator(*args, **options)
    torch.testing.assert_close(
        y, MEANINGS[operator](*args, **options), rtol=1e-5, atol=1e-5, check_stride=False
    )
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(a) if isinstance(a, Tensor) else a for a in args]
        fake = operator(*fakes, **options)
    assert (fake.shape, fake.stride(), fake.dtype) == (y.shape, y.stride(), y.dtype)


@pytest.mark.parametrize("name", ["pointwise_conv2d", "layer_norm", "attention"])
def test_half_precision_is_promised(name: str) -> None:
    args, options = CASES[name]
    half = [a.bfloat16() if isinstance(a, Tensor) else a for a in args]
    assert OPERATORS[name](*half, **options).dtype is torch.bfloat16
    meta = [a.to("meta") if isinstance(a, Tensor) else a for a in half]
    assert OPERATORS[name](*meta, **options).dtype is torch.bfloat16


def test_gradients_are_refused_only_where_they_are_asked_for() -> None:
    x, weight = values(2, 3).requires_grad_(), values(4, 3)
    y = OPERATORS["gemm"](x, weight)
    torch.testing.assert_close(y, x @ weight.t())
    with pytest.raises(NotImplementedError, match="nas::gemm is for inference"):
        y.sum().backward()
    with torch.inference_mode():
        torch.testing.assert_close(OPERATORS["gemm"](x, weight), y)


def test_wrong_arguments_are_told_as_by_the_function() -> None:
    with pytest.raises(ValueError, match="activation must be one of"):
        OPERATORS["gemm"](values(2, 3), values(4, 3), activation="mish")
