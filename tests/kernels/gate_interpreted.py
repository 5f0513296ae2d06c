"""What cases do not say of the Triton channel gates; run by `test_in_interpreter.py`."""

from __future__ import annotations

import pytest
import torch

from kernels import gate_triton
from kernels.gate import eca, squeeze_excite


def weights(channels: int, hidden: int) -> tuple[torch.Tensor, ...]:
    sizes = ((hidden, channels), (hidden,), (channels, hidden), (channels,))
    return tuple(torch.randn(size) for size in sizes)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_layout_is_kept(layout):
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout)
    for y in (
        squeeze_excite(x, *weights(3, 4), backend="triton"),
        eca(x, torch.randn(3), backend="triton"),
    ):
        assert y.is_contiguous(memory_format=layout)


def test_one_launch_and_three_agree(monkeypatch):
    x, tensors = torch.randn(2, 5, 6, 7), weights(5, 4)
    one = squeeze_excite(x, *tensors, backend="triton")
    monkeypatch.setattr(gate_triton, "ONE_LAUNCH_VALUES", 0)
    torch.testing.assert_close(squeeze_excite(x, *tensors, backend="triton"), one)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (torch.zeros(0, 3, 4, 4), "empty tensor"),
        (torch.zeros(2, 3, 4, 4).double(), "dtype"),
        (torch.zeros(1, 1, 1, 1).expand(1, 3, 2**16, 2**15), "2\\^31 or more elements"),
    ],
)
def test_what_is_not_served_is_refused(x, reason):
    with pytest.raises(NotImplementedError, match=reason):
        eca(x, torch.zeros(3, dtype=x.dtype), backend="triton")


def test_too_much_hidden_is_refused():
    with pytest.raises(NotImplementedError, match="257 hidden values"):
        squeeze_excite(torch.zeros(1, 3, 2, 2), *weights(3, 257), backend="triton")
    with pytest.raises(NotImplementedError, match="33 taps"):
        eca(torch.zeros(1, 3, 2, 2), torch.zeros(33), backend="triton")
