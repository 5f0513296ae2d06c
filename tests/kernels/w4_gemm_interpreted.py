"""What the catalogue's cases do not say of the Triton product with 4-bit weights.

`test_in_interpreter.py` runs this file in a process of its own with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import pytest
import torch

from kernels.w4_gemm import pack_w4, unpack_w4, w4_gemm


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_identity_returns_every_step_exactly(dtype):
    """Every step at every place of a run, less every zero point."""
    steps = (torch.arange(16)[:, None] + torch.arange(130)).remainder(16).to(torch.uint8)
    zero = torch.arange(16, dtype=torch.uint8)[None]
    one = torch.ones(1, 16, dtype=dtype)
    y = w4_gemm(torch.eye(130, dtype=dtype), pack_w4(steps), one, zero, backend="triton")
    assert torch.equal(y.t().int(), steps.int() - zero.t().int())


def test_a_split_sum_is_the_same_every_time():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 640, generator=generator).half()
    packed = pack_w4(torch.randint(0, 16, (3, 640), generator=generator, dtype=torch.uint8))
    arguments = (x, packed, torch.ones(5, 3).half())
    assert torch.equal(w4_gemm(*arguments, backend="triton"), w4_gemm(*arguments, backend="triton"))


def test_rows_past_two_to_the_31_elements():
    """The rows are 2^30 elements apart: the third starts past 32-bit offsets."""
    memory = torch.empty(2 * 2**30 + 32, dtype=torch.float16)  # Only the pages used take memory.
    x = memory.as_strided((3, 32), (2**30, 1))
    x.copy_(torch.arange(96).reshape(3, 32))
    packed = pack_w4(9 * torch.eye(32, dtype=torch.uint8))
    zero = torch.zeros(1, 32, dtype=torch.uint8)
    y = w4_gemm(x, packed, torch.ones(1, 32).half(), zero, backend="triton")
    assert torch.equal(y, 9 * x)
    assert torch.equal(unpack_w4(packed, 32), 9 * torch.eye(32, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("x", "message"), [(torch.zeros(0, 4).half(), "empty tensor"), (torch.zeros(2, 4), "dtype")]
)
def test_what_is_not_served_is_refused(x, message):
    packed, scale = torch.zeros(3, 16, dtype=torch.int32), torch.zeros(1, 3, dtype=x.dtype)
    with pytest.raises(NotImplementedError, match=message):
        w4_gemm(x, packed, scale, backend="triton")
    assert w4_gemm(x, packed, scale).shape == (x.shape[0], 3)
