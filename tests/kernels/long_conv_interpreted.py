"""What cases do not say of the Triton long convolution; run by `test_in_interpreter.py`."""

from __future__ import annotations

import pytest
import torch

from kernels import long_conv_triton
from kernels.check import check_case
from kernels.long_conv import long_conv
from kernels.long_conv_blocks import Blocks, long_conv_constants
from kernels.long_conv_cases import LONG_CONV
from kernels.operation import Case


def test_an_impulse_returns_the_kernel():
    kernel = torch.randn(1, 20)
    x = torch.zeros(1, 1, 20)
    x[..., 0] = 1
    y = long_conv(x, kernel, causal=True, backend="triton")
    torch.testing.assert_close(y[0], kernel, rtol=1e-5, atol=1e-5)


def test_several_pairs_a_program(monkeypatch):
    monkeypatch.setattr(long_conv_triton, "PROGRAMS", 1)
    x, kernel = torch.randn(5, 2, 6), torch.randn(2, 12)
    case = Case(name="", why="", make=lambda *_: {"x": x, "kernel": kernel})
    outcome = check_case(LONG_CONV, case, torch.float32, "cpu")
    assert outcome.passed, outcome


def test_only_the_gradients_asked_for():
    x, kernel = torch.randn(1, 1, 6), torch.randn(1, 12, requires_grad=True)
    long_conv(x, kernel, backend="triton").sum().backward()
    assert x.grad is None
    assert kernel.grad is not None


def test_sequences_past_two_to_the_31_elements():
    """Sequences of 2^30 values, of which a block sees 256: the third is past 32-bit offsets."""
    length, size = 2**30, 256
    memory = torch.empty(2 * length + size, dtype=torch.float16)  # Few pages take memory.
    seen = memory.as_strided((3, size), (length, 1))
    seen.copy_(torch.randn(3, size))
    wanted = seen.float().roll(1, dims=1)
    blocks = Blocks(rows=16, columns=16, warps=1)
    shift = torch.zeros(1, size)
    shift[0, 1] = 1
    spectrum = long_conv_triton._spectrum(shift, shift)
    tables = long_conv_triton._tables(16, 16, torch.device("cpu"))
    constants = long_conv_constants(half=True, has_bias=False, conjugate=False, blocks=blocks)
    long_conv_triton.long_conv_kernel[(1,)](
        *(memory, spectrum, tables, memory, memory, 3, 1, length, 2), **constants
    )
    torch.testing.assert_close(seen.float(), wanted, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("x", "taps", "reason"),
    [
        (torch.zeros(0, 1, 4), 4, "empty tensor"),
        (torch.zeros(1, 1, 4).double(), 4, "dtype"),
        (torch.zeros(1, 1, 1025).half(), 2050, "a transform of 4096"),
        (torch.zeros(1, 1, 513), 1026, "a transform of 2048"),
    ],
)
def test_what_is_not_served_is_refused(x, taps, reason):
    kernel = torch.zeros(1, taps, dtype=x.dtype)
    with pytest.raises(NotImplementedError, match=reason):
        long_conv(x, kernel, backend="triton")
    assert long_conv(x, kernel).shape == x.shape
