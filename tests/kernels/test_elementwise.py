"""Element-wise chains and batch norm: plain versions, errors, blocks.

Their Triton kernel is tested in `catalogue_interpreted.py` and `elementwise_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kernels.elementwise import batch_norm, elementwise
from kernels.elementwise_blocks import blocks_for

X, VECTOR = torch.zeros(2, 3, 4, 4), torch.zeros(3)


def test_batch_norm_is_torchs():
    x = torch.randn(2, 3, 4, 5)
    mean, weight, bias = torch.randn(3), torch.randn(3), torch.randn(3)
    variance = torch.rand(3) + 0.5
    wanted = functional.batch_norm(x, mean, variance, weight, bias, eps=1e-3)
    torch.testing.assert_close(batch_norm(x, mean, variance, weight, bias, eps=1e-3), wanted)


def test_the_residual_comes_last_or_before_the_activation():
    x, residual = torch.tensor([[-3.0, 1.0]]), torch.tensor([[2.0, -2.0]])
    last = elementwise(x, None, residual, activation="relu")
    first = elementwise(x, None, residual, activation="relu", residual_first=True)
    assert last.tolist() == [[2.0, -1.0]]
    assert first.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("channel_dim", [1, -1])
def test_the_bias_goes_along_the_channels(channel_dim):
    x, bias = torch.zeros(2, 3, 3), torch.tensor([1.0, 2.0, 3.0])
    y = elementwise(x, bias, channel_dim=channel_dim)
    assert torch.equal(y.movedim(channel_dim, -1)[0, 0], bias)


def test_values_are_rounded_once():
    # 256 + 1 - 256 is 0 where the first sum is rounded to bfloat16.
    x, bias = torch.full((1, 1), 256.0).bfloat16(), torch.ones(1).bfloat16()
    assert elementwise(x, bias, -x).item() == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_meta_device_has_the_shape(dtype):
    x = torch.empty(2, 3, 4, 5, device="meta", dtype=dtype)
    vector = torch.empty(3, device="meta", dtype=dtype)
    for y in (elementwise(x, vector, x), batch_norm(x, vector, vector, vector, vector, x)):
        assert (y.shape, y.dtype, y.device.type) == ((2, 3, 4, 5), dtype, "meta")


def test_an_empty_batch_gives_an_empty_output():
    assert elementwise(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((X[0, 0, 0],), {}, r"two dimensions or more; got \[4\].*needs x\[None\]"),
        ((X.int(),), {}, "floating-point"),
        ((X, VECTOR[:1]), {}, r"bias must be \[3\].*got \[1\] for x \[2, 3, 4, 4\]"),
        ((X, VECTOR), {"channel_dim": -1}, r"bias must be \[4\]"),
        ((X, VECTOR, X[:1]), {}, r"residual must have the shape of x.*got \[1, 3, 4, 4\]"),
        ((X, VECTOR.half()), {}, "bias must have the dtype and device of x"),
        ((X, VECTOR, X.half()), {}, "residual must have the dtype"),
        ((X,), {"channel_dim": 2}, "channel_dim must be 1 or the last"),
        ((X,), {"activation": "tanh"}, "none, relu, gelu, silu, .*; got 'tanh'"),
        ((X,), {"backend": "cuda"}, "auto, plain, triton; got 'cuda'"),
    ],
)
def test_faulty_arguments_say_what_must_hold(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        elementwise(*arguments, **settings)


def test_statistics_must_fit_the_channels():
    with pytest.raises(ValueError, match=r"variance must be \[3\].*got \[4\]"):
        batch_norm(X, VECTOR, torch.zeros(4))


@pytest.mark.parametrize("run", [elementwise, lambda x, **s: batch_norm(x, VECTOR, VECTOR, **s)])
def test_forcing_triton_names_the_shape_and_what_is_served(run):
    pytest.importorskip("triton")
    with pytest.raises(NotImplementedError, match=r"x \[2, 3, 4, 4\].*compute capability 8.0"):
        run(X, backend="triton")


def test_every_line_has_blocks():
    for capability in ((0, 0), (8, 0), (12, 0)):
        for columns in (1, 17, 1024, 10**6):
            blocks = blocks_for(capability, columns)
            assert min(blocks.rows, blocks.columns) >= 1
