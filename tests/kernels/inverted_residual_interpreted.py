"""What the catalogue's cases do not say of the Triton inverted-residual block.

`test_in_interpreter.py` runs this file in a process of its own with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels import inverted_residual_blocks
from kernels.inverted_residual import inverted_residual, inverted_residual_plain


def make(
    shape: tuple[int, ...], expanded: int, columns: int, kernel: int = 3
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sizes = (
        *(shape, (expanded, shape[1], 1, 1), (expanded,)),
        *((expanded, 1, kernel, kernel), (expanded,), (columns, expanded, 1, 1), (columns,)),
    )
    return tuple(torch.randn(size, generator=generator) for size in sizes)


def test_a_program_goes_through_several_tiles(monkeypatch):
    """What a tile leaves in the scratch buffer must not reach the next."""
    monkeypatch.setattr(inverted_residual_blocks, "MOST_PROGRAMS", 2)
    tensors = make((1, 3, 5, 9), 20, 4)
    y = inverted_residual(*tensors, backend="triton")
    torch.testing.assert_close(y, inverted_residual_plain(*tensors), rtol=1e-5, atol=1e-4)


def test_the_output_is_channels_last():
    y = inverted_residual(*make((2, 3, 4, 4), 5, 6), backend="triton")
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_nan_reaches_exactly_what_sees_it():
    tensors = make((1, 3, 7, 7), 5, 2)
    tensors[0][0, 1, 0, 3] = float("nan")
    y = inverted_residual(*tensors, backend="triton")
    assert torch.equal(y.isnan(), inverted_residual_plain(*tensors).isnan())
    assert 0 < y.isnan().sum() < y.numel()


@pytest.mark.parametrize(
    ("tensors", "stride", "message"),
    [
        (make((1, 8, 3, 3), 8, 264), 1, "264 output channels"),
        (make((1, 2, 3, 3), 8, 72), 1, "72 output channels"),
        (make((1, 2, 3, 3), 2, 2, 9), 1, "kernel size 9"),
        (make((1, 2, 3, 3), 2, 2), 3, "stride 3"),
        (make((0, 2, 3, 3), 2, 2), 1, "empty tensor"),
        (tuple(tensor.double() for tensor in make((1, 2, 3, 3), 2, 2)), 1, "dtype"),
    ],
)
def test_what_is_not_served_is_refused(tensors, stride, message):
    with pytest.raises(NotImplementedError, match=message):
        inverted_residual(*tensors, stride=stride, backend="triton")
    assert inverted_residual(*tensors, stride=stride).shape[1] == tensors[-1].shape[0]
