"""What cases do not say of the element-wise kernel; run by `test_in_interpreter.py`."""

from __future__ import annotations

import pytest
import torch

from kernels import elementwise_triton
from kernels.elementwise import batch_norm, elementwise
from kernels.elementwise_blocks import Blocks, elementwise_constants


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_layout_is_kept(layout):
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout)
    y = elementwise(x, torch.randn(3), x, backend="triton")
    assert y.is_contiguous(memory_format=layout)


def test_only_the_gradients_asked_for():
    x, bias = torch.randn(2, 3), torch.randn(3, requires_grad=True)
    elementwise(x, bias, x, activation="gelu", backend="triton").sum().backward()
    assert x.grad is None
    assert bias.grad is not None


def test_lines_past_two_to_the_31_elements():
    """Lines of 2^30 columns, of which a block sees 16: the third starts past 32-bit offsets."""
    columns = 2**30
    x = torch.empty(2 * columns + 16, dtype=torch.float16)  # Only the pages used take memory.
    seen = x.as_strided((3, 16), (columns, 1))
    seen.copy_(torch.arange(48).view(3, 16))
    constants = elementwise_constants(
        channels_last=False,
        normalise=False,
        has_weight=False,
        has_bias=False,
        residual="last",
        activation="none",
        blocks=Blocks(rows=4, columns=16, warps=1),
    )
    arguments = (x, x, x, x, x, x, x, 3, columns, 3, 0.0)
    elementwise_triton.elementwise_kernel[(1,)](*arguments, **constants)
    assert torch.equal(seen, 2 * torch.arange(48).view(3, 16).half())


@pytest.mark.parametrize(
    ("x", "reason"), [(torch.zeros(0, 3), "empty tensor"), (torch.zeros(2, 3).double(), "dtype")]
)
def test_what_is_not_served_is_refused(x, reason):
    vector = torch.ones(3, dtype=x.dtype)
    for run in (elementwise, lambda x, **s: batch_norm(x, vector, vector, **s)):
        with pytest.raises(NotImplementedError, match=reason):
            run(x, backend="triton")
        assert run(x).shape == x.shape
