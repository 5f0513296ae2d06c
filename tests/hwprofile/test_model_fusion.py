"""What tracing and pricing published models whole has taught."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwprofile.fuse import fuse
from hwprofile.kernel import Kernel
from hwprofile.targets import get_target
from hwprofile.trace import TraceError, trace


class RelativeBias(nn.Module):
    """Adds a table of parameters, looked up by a buffer of positions, as Swin and LeViT do."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(7, 4))
        self.register_buffer("positions", torch.arange(36).reshape(6, 6) % 7)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[self.positions].permute(2, 0, 1)


class Chosen(nn.Module):
    """Looks the columns of its input up."""

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.index]


class OnDevice(nn.Module):
    """Makes a table on the device of its input, as EdgeNeXt does."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.ones(x.shape[-1]).to(x.device)


def test_parameters_looked_up_by_position_are_a_weight() -> None:
    for device in ("cpu", "meta"):
        record = trace(RelativeBias().to(device), (2, 4, 6, 6))
        assert [call.op for call in record.calls] == ["add"]
        assert record.calls[0].weights[0].shape == (4, 6, 6)


def test_looking_up_by_integers_is_a_copy_and_by_truth_values_is_refused() -> None:
    record = trace(Chosen(torch.tensor([3, 1])), (2, 8))
    assert [(call.op, call.output_shapes) for call in record.calls] == [("index", ((2, 2),))]
    assert [kernel.op for kernel in fuse(record)] == ["copy"]
    with pytest.raises(TraceError, match="asks for the values"):
        trace(Chosen(torch.tensor([True] * 8)), (2, 8))


def test_tensors_may_be_sent_to_the_device_of_the_input() -> None:
    record = trace(OnDevice(), (2, 3, 8))
    assert [call.op for call in record.calls] == ["mul"]
    assert record.output_shapes == ((2, 3, 8),)


class Attention(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)


def attention(length: int, head: int = 64, scheme: str = "fp16") -> Kernel:
    (kernel,) = fuse(trace(Attention(), *[(64, 16, length, head)] * 3), scheme)
    return kernel


@pytest.mark.parametrize("name", ["a100", "rtx3090"])
def test_attention_runs_on_tensor_cores(name: str) -> None:
    target, kernel = get_target(name), attention(2048)
    share = kernel.flops / (target.prior(kernel) * 1e9) / target.device.peak_tflops["fp16"]
    # Published flash kernels reach some 0.5 to 0.7 of an A100's peak at heads of 64.
    assert 0.3 < share < 0.8


def test_attention_wants_bytes_when_short_and_more_time_when_wider_or_longer() -> None:
    target = get_target("a100")
    one = attention(1)
    moved = one.read_bytes + one.write_bytes
    assert target.prior(one) * 1e3 > target.launch_floor_ms * 1e3 + moved / 2039e3
    assert target.prior(attention(197)) < target.prior(attention(257))
    assert target.prior(attention(512)) < target.prior(attention(512, 128))
    assert target.prior(attention(512)) < 0.5 * target.prior(attention(512, scheme="fp32"))


def test_narrow_depthwise_convolutions_do_not_reach_the_bandwidth() -> None:
    layer = nn.Conv2d(96, 96, 3, padding=1, groups=96)
    (kernel,) = fuse(trace(layer, (64, 96, 56, 56)))
    target = get_target("a100")
    moved = kernel.read_bytes + kernel.write_bytes
    assert target.prior(kernel) * 1e3 > 2 * moved / 2039e3
