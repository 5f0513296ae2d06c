"""Single operations taken down from a module, made again by themselves."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from hwprofile.library_calls import library_call, library_replay
from hwprofile.replay import as_json, calls_of, from_json, kernels_of, replay_of
from hwprofile.runtime import RUNTIMES

EAGER, INDUCTOR = RUNTIMES["cpu-eager"], RUNTIMES["cpu-inductor"]


class Block(nn.Module):
    """A convolution whose result is permuted: what follows meets channels-last strides."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.LayerNorm(8)
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        y = functional.relu(self.convolution(x), inplace=True)
        return self.linear(self.norm(y.permute(0, 2, 3, 1))).mean((1, 2))


@pytest.fixture(scope="module")
def calls():
    with torch.device("meta"):
        return calls_of(Block().eval(), [torch.empty(2, 4, 6, 6)])


def test_calls_come_in_order_without_views(calls):
    names = [call.name.split(".")[1] for call in calls]
    assert names == ["conv2d", "relu_", "layer_norm", "linear", "mean"]
    assert [x.shape for x in calls[0].operands] == [(2, 4, 6, 6), (8, 4, 3, 3), (8,)]
    assert [x.weight for x in calls[0].operands] == [False, True, True]
    assert calls[2].operands[0].stride == (72, 3, 1, 9)  # permuted, not copied


def test_json_reads_back(calls):
    assert [from_json(json.loads(json.dumps(as_json(call)))) for call in calls] == calls


def test_a_replay_computes_what_the_module_does(calls):
    torch.manual_seed(0)
    block = Block().eval()
    with torch.inference_mode():
        shapes = [replay_of(call, torch.float32).run().shape for call in calls]
        assert shapes[-1] == block(torch.randn(2, 4, 6, 6)).shape
        half = replay_of(calls[0], torch.bfloat16).run()
    assert half.dtype == torch.bfloat16


def test_calls_in_place_do_not_drift():
    with torch.device("meta"):
        (call,) = calls_of(_Scale(), [torch.empty(3, 5)])
    replay = replay_of(call, torch.float32)
    with torch.inference_mode():
        first = replay.run().clone()
        for _ in range(20):
            replay.touch()
            last = replay.run()
    torch.testing.assert_close(last, first)


class _Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(5))

    def forward(self, x):
        return x.mul_(self.gamma)


def test_every_call_launches_the_kernels_of_its_rule(calls):
    found = [kernels_of(call, EAGER, "fp32") for call in calls]
    assert all(found)
    (convolution,) = found[0]
    assert (convolution.op, convolution.m, convolution.n, convolution.k) == ("conv2d", 18, 8, 36)
    assert kernels_of(calls[0], EAGER, "bf16")[0].read_bytes == convolution.read_bytes // 2


def test_inductor_calls_libraries_channels_last_and_without_biases(calls):
    called = [library_call(call) for call in calls]
    assert [call is not None for call in called] == [True, False, False, True, False]
    convolution, linear = called[0], called[3]
    assert convolution.operands[0].stride == (144, 1, 24, 4)
    assert len(linear.operands) == 2
    with torch.inference_mode():
        for call in (convolution, linear):
            packed, plain = library_replay(call, torch.float32), replay_of(call, torch.float32)
            expected = plain.run()
            torch.testing.assert_close(packed.run().reshape(expected.shape), expected)
    (kernel,) = kernels_of(convolution, INDUCTOR, "fp32")
    assert kernel.op == "conv2d"
