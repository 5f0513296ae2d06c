"""What cases do not say of the Triton attention; run by `test_in_interpreter.py`."""

from __future__ import annotations

import pytest
import torch

from kernels import attention_launch_triton
from kernels.attention import attention
from kernels.attention_cases import ATTENTION
from kernels.check import check_case
from kernels.operation import Case


def drawn(*sizes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator) for size in sizes]


def test_joining_the_heads_is_free():
    y = attention(*drawn(*[(2, 3, 5, 16)] * 3), backend="triton")
    assert y.transpose(1, 2).is_contiguous()


def test_the_gradient_of_a_bias_with_several_images_a_split(monkeypatch):
    monkeypatch.setattr(attention_launch_triton, "BIAS_SPLITS", 2)
    names = ("q", "k", "v", "bias")
    tensors = drawn(*[(5, 1, 4, 16)] * 3, (1, 1, 4, 4))
    case = Case(name="", why="", make=lambda *_: dict(zip(names, tensors, strict=True)))
    outcome = check_case(ATTENTION, case, torch.float32, "cpu")
    assert outcome.passed, outcome


def test_a_nan_spoils_its_query_alone():
    q, k, v = drawn(*[(1, 1, 4, 16)] * 3)
    q[0, 0, 2, 5] = float("nan")
    y = attention(q, k, v, backend="triton")
    assert torch.equal(y[0, 0].isnan().all(1), torch.tensor([False, False, True, False]))
    assert not y[0, 0, [0, 1, 3]].isnan().any()


def test_only_the_gradients_asked_for():
    q, k, v = drawn(*[(1, 1, 4, 16)] * 3)
    v.requires_grad_()
    attention(q, k, v, backend="triton").sum().backward()
    assert (q.grad, k.grad) == (None, None)
    assert v.grad is not None


def test_heads_past_two_to_the_31_elements():
    """A head lies 2^30 elements from the last: the third starts past 32-bit offsets."""
    memory = torch.empty(2 * 2**30 + 64, dtype=torch.float16)  # Only the pages used take memory.
    k = memory.as_strided((1, 3, 4, 16), (2**32, 2**30, 16, 1))
    k.copy_(torch.randn(1, 3, 4, 16))
    q = torch.randn(1, 3, 4, 16).half()
    y = attention(q, k, q, backend="triton")
    wanted = attention(q, k.clone(), q, backend="plain")
    torch.testing.assert_close(y, wanted, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("q", "k", "reason"),
    [
        (torch.zeros(0, 1, 4, 16), torch.zeros(0, 1, 4, 16), "empty tensor"),
        (torch.zeros(1, 1, 4, 16).double(), torch.zeros(1, 1, 4, 16).double(), "dtype"),
        (torch.zeros(1, 1, 4, 129), torch.zeros(1, 1, 4, 129), "129 features"),
        (torch.zeros(1, 1, 4, 16), torch.zeros(1, 1, 0, 16), "no keys"),
        (
            torch.zeros(1, 1, 1, 16),
            torch.zeros(1, 1, 1, 1).expand(1, 1, 2**27, 16),
            "a head of 2\\^31",
        ),
    ],
)
def test_what_is_not_served_is_refused(q, k, reason):
    with pytest.raises(NotImplementedError, match=reason):
        attention(q, k, k, backend="triton")
