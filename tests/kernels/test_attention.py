"""Attention: the plain version, the choice of backend, errors, blocks.

Its Triton kernels are tested in `catalogue_interpreted.py` and `attention_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kernels.attention import attention
from kernels.attention_blocks import blocks_for

X = torch.zeros(4, 2, 5, 8)


def drawn(*sizes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator) for size in sizes]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("keys", [5, 3, 9])
def test_plain_is_torchs(causal, keys):
    q, k, v = drawn((2, 3, 5, 8), (2, 3, keys, 8), (2, 3, keys, 8))
    y = attention(q, k, v, causal=causal, scale=0.3)
    wanted = functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=0.3)
    torch.testing.assert_close(y, wanted)


def test_a_bias_comes_round_again_with_the_batch():
    q, k, v, bias = drawn((4, 3, 5, 8), (4, 3, 5, 8), (4, 3, 5, 8), (2, 1, 5, 5))
    y = attention(q, k, v, bias)
    mask = bias[[0, 1, 0, 1]]
    torch.testing.assert_close(y, functional.scaled_dot_product_attention(q, k, v, mask))


def test_a_query_that_sees_nothing_gives_zeros():
    q, k, v = drawn((1, 1, 3, 8), (1, 1, 3, 8), (1, 1, 3, 8))
    bias = torch.zeros(1, 1, 3, 3)
    bias[..., 1, :] = -torch.inf
    y = attention(q.requires_grad_(), k, v, bias)
    assert torch.equal(y[0, 0, 1], torch.zeros(8))
    y.sum().backward()
    assert q.grad is not None
    assert q.grad.isfinite().all()


def test_the_softmax_is_float32_even_under_autocast():
    # 4,096 equal weights: their bfloat16 sum would stop at 256 of them.
    q = torch.zeros(1, 1, 1, 8)
    k = v = torch.ones(1, 1, 4096, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = attention(q, k, v)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, torch.ones(1, 1, 1, 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_meta_device_has_the_shape(dtype):
    q = torch.empty(2, 3, 5, 8, device="meta", dtype=dtype)
    k = torch.empty(2, 3, 7, 8, device="meta", dtype=dtype)
    y = attention(q, k, k, torch.empty(1, 3, 5, 7, device="meta", dtype=dtype), causal=True)
    assert (y.shape, y.dtype, y.device.type) == ((2, 3, 5, 8), dtype, "meta")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[0], X, X), r"\[batch, heads, queries, features\].*got \[2, 5, 8\]"),
        ((X.int(), X, X), "floating-point"),
        ((X, X[:, :1], X[:, :1]), r"k must be \[4, 2, keys, 8\].*Heads that share keys"),
        ((X, X, X[:, :, :3]), r"v must have the shape of k, \[4, 2, 5, 8\]"),
        ((X, X, X, X[0]), r"bias must be \[entries, 2 or 1, 5, 5\].*got \[2, 5, 8\]"),
        ((X, X, X, torch.zeros(3, 2, 5, 5)), "divides the batch of 4"),
        ((X, X.half(), X.half()), "k must have the dtype and device of q"),
    ],
)
def test_faulty_arguments_say_what_must_hold(arguments, message):
    with pytest.raises(ValueError, match=message):
        attention(*arguments)


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="auto, plain, triton; got 'cuda'"):
        attention(X, X, X, backend="cuda")


def test_forcing_triton_names_the_shape_and_what_is_served():
    pytest.importorskip("triton")
    with pytest.raises(NotImplementedError, match=r"q \[4, 2, 5, 8\].*at most 128 features"):
        attention(X, X, X, backend="triton")


@pytest.mark.parametrize("operation", ["forward", "queries", "keys", "bias"])
def test_every_device_and_shape_has_blocks(operation):
    for capability in ((0, 0), (8, 0), (9, 0), (12, 0)):
        for half in (False, True):
            for features in (8, 64, 65, 128):
                for biased in (True,) if operation == "bias" else (False, True):
                    for longest in (1, 64, 65, 10**6):
                        blocks = blocks_for(
                            operation,
                            capability,
                            half=half,
                            features=features,
                            biased=biased,
                            longest=longest,
                        )
                        assert min(blocks.queries, blocks.keys) >= 16
