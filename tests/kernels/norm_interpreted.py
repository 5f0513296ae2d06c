"""What cases do not say of the Triton norms; run by `test_in_interpreter.py`."""

from __future__ import annotations

import pytest
import torch

from kernels import norm_triton
from kernels.check import check_case
from kernels.norm import layer_norm, layer_norm_plain
from kernels.norm_blocks import Blocks, forward_constants
from kernels.norm_cases import LAYER_NORM
from kernels.operation import Case


def test_gradients_with_several_runs_a_split(monkeypatch):
    monkeypatch.setattr(norm_triton, "_SPLITS", 3)
    x, weight, bias = torch.randn(5, 1030), torch.randn(1030), torch.randn(1030)
    case = Case(name="", why="", make=lambda *_: {"x": x, "weight": weight, "bias": bias})
    outcome = check_case(LAYER_NORM, case, torch.float32, "cpu")
    assert outcome.passed, outcome


def test_only_the_gradients_asked_for():
    x, weight, bias = torch.randn(3, 4), torch.randn(4, requires_grad=True), torch.randn(4)
    layer_norm(x, weight, bias, backend="triton").sum().backward()
    assert (x.grad, bias.grad) == (None, None)
    assert weight.grad is not None


def test_the_layout_is_kept_where_channels_are_innermost():
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    y = layer_norm(x, channel_dim=1, backend="triton")
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_nan_spoils_its_row_alone():
    x = torch.randn(4, 5)
    x[1, 2] = float("nan")
    y = layer_norm(x, backend="triton")
    assert torch.equal(y.isnan().all(1), torch.tensor([False, True, False, False]))
    assert not y[[0, 2, 3]].isnan().any()


def test_rows_past_two_to_the_31_elements():
    """Rows of 2^30 columns, of which a block sees 16: the third starts past 32-bit offsets."""
    columns = 2**30
    x = torch.empty(2 * columns + 16, dtype=torch.float16)  # Only the pages used take memory.
    y = torch.empty_like(x)
    seen, written = (memory.as_strided((3, 16), (columns, 1)) for memory in (x, y))
    seen.copy_(torch.randn(3, 16))
    constants = forward_constants(
        rms=True,
        has_weight=False,
        has_bias=False,
        save=False,
        activation="none",
        blocks=Blocks(rows=1, columns=16, warps=1),
    )
    norm_triton.norm_forward_kernel[(3,)](x, x, x, y, y, y, 3, columns, 0.0, **constants)
    wide = seen.float()
    wanted = wide / (wide.square().sum(1, keepdim=True) / columns).sqrt()
    torch.testing.assert_close(written.float(), wanted, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (torch.zeros(0, 4), "empty tensor"),
        (torch.zeros(2, 4).double(), "dtype"),
        (torch.zeros(1, 8193), "8193 channels"),
    ],
)
def test_what_is_not_served_is_refused(x, reason):
    with pytest.raises(NotImplementedError, match=reason):
        layer_norm(x, backend="triton")
    torch.testing.assert_close(layer_norm(x), layer_norm_plain(x))
