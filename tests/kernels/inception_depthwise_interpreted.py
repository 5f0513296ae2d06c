"""What the catalogue's cases do not say of the Inception depthwise kernel."""

from __future__ import annotations

import pytest
import torch

from kernels import inception_depthwise_triton
from kernels.check import check_case
from kernels.inception_depthwise import inception_depthwise_conv2d
from kernels.inception_depthwise_cases import INCEPTION_DEPTHWISE


@pytest.mark.parametrize("case", ["channels-first", "17 of a group"])
def test_the_small_blocks_of_few_programs(case, monkeypatch):
    monkeypatch.setattr(inception_depthwise_triton, "_FEW", 10**9)
    (found,) = (made for made in INCEPTION_DEPTHWISE.cases if made.name == case)
    outcome = check_case(INCEPTION_DEPTHWISE, found, torch.float32, "cpu")
    assert outcome.passed, outcome


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_channels_that_pass_are_the_same_bits_in_the_same_layout(layout):
    x = torch.randn(1, 7, 3, 3, generator=torch.Generator().manual_seed(0))
    x[0, 0, 0] = torch.tensor([-0.0, float("nan"), 1e-45])
    x = x.contiguous(memory_format=layout)
    weights = (torch.ones(2, 1, 3, 3), torch.ones(2, 1, 1, 3), torch.ones(2, 1, 3, 1))
    y = inception_depthwise_conv2d(x, *weights, backend="triton")
    assert y.is_contiguous(memory_format=layout)
    assert torch.equal(y[:, 0].view(torch.int32), x[:, 0].view(torch.int32))
