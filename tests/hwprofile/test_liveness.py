from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hwprofile.liveness import peak_bytes
from hwprofile.record import Record
from hwprofile.trace import chain, trace


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Split(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(dim // 2, dim // 2), nn.Linear(dim // 2, dim // 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        return torch.cat([self.left(a), self.right(b).relu_()], -1)


def test_an_inverted_bottleneck_by_hand() -> None:
    # [2, 8] in; 4 times as wide inside; the input stays alive for the sum. In elements:
    # x 16, up 64: 80 alive; relu writes 64 beside them: 144; then up dies, down adds 16: 96.
    module = Residual(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)))
    assert peak_bytes(trace(module, (2, 8))) == 2 * 144
    # In place the relu needs nothing, so the peak is at the second product: 16 + 64 + 16.
    module = Residual(nn.Sequential(nn.Linear(8, 32), nn.ReLU(inplace=True), nn.Linear(32, 8)))
    assert peak_bytes(trace(module, (2, 8))) == 2 * 96
    assert peak_bytes(trace(module, (2, 8)), bytes_per_element=4) == 4 * 96


def test_views_cost_nothing_and_keep_their_base_alive() -> None:
    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = (x * 2)[:, :1]
            return y.transpose(0, 1).exp().sum() + y.sum()

    # x 8 and its double 8; then the double 8 with exp 2; sums of 1.
    assert peak_bytes(trace(Half(), (2, 4))) == 2 * 16


def test_the_identity_holds_its_input_once() -> None:
    assert peak_bytes(trace(nn.Identity(), (2, 8))) == 2 * 16
    assert peak_bytes(trace(nn.Flatten(), (2, 2, 4))) == 2 * 16


def test_masks_take_a_byte_and_unread_results_die_at_once() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x.exp()
            return x.masked_fill(x > 0, 1.0)

    # x 16 bytes with: exp 16; the mask 8; the mask 8 and the result 16.
    assert peak_bytes(trace(Masked(), (2, 4))) == 40


def simulated(record: Record) -> int:
    """The same by brute force: at each call, ask of each memory whether any of its names is read.

    Memory is a set of names that grows by aliasing; nothing is freed, liveness is looked up anew.
    """
    memory = [{i} for i in record.inputs]
    shapes = dict(zip(record.inputs, record.input_shapes, strict=True))
    peak = sum(2 * math.prod(s) for s in record.input_shapes)
    for call in record.calls:
        shapes.update(zip(call.outputs, call.output_shapes, strict=True))
        if call.aliases:
            next(names for names in memory if call.inputs[0] in names).update(call.outputs)
        else:
            memory.extend({i} for i in call.outputs)
    written = dict.fromkeys(record.inputs, -1)
    for step, call in enumerate(record.calls):
        written.update(dict.fromkeys(call.outputs, step))
    for step in range(len(record.calls)):
        later = {i for call in record.calls[step:] for i in call.inputs} | set(record.outputs)
        alive = [
            2 * math.prod(shapes[min(names)])
            for names in memory
            if written[min(names)] == step or (written[min(names)] < step and names & later)
        ]
        peak = max(peak, sum(alive))
    return peak


def blocks() -> st.SearchStrategy[nn.Module]:
    leaves = st.sampled_from(
        [
            lambda: nn.Linear(8, 8),
            lambda: nn.ReLU(),
            lambda: nn.ReLU(inplace=True),
            lambda: nn.LayerNorm(8),
            lambda: nn.Identity(),
            lambda: Split(8),
            lambda: nn.Sequential(nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 8)),
        ]
    ).map(lambda make: make())
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map(Residual), st.lists(inner, min_size=1, max_size=3).map(to_sequence)
        ),
        max_leaves=6,
    )


def to_sequence(modules: list[nn.Module]) -> nn.Module:
    return nn.Sequential(*modules)


@settings(max_examples=80, deadline=None)
@given(blocks())
def test_agrees_with_brute_force(module: nn.Module) -> None:
    record = trace(module, (2, 3, 8))
    assert peak_bytes(record) == simulated(record)


@settings(max_examples=40, deadline=None)
@given(st.lists(blocks(), min_size=1, max_size=4))
def test_the_peak_of_a_chain_is_the_largest_of_its_blocks(modules: list[nn.Module]) -> None:
    records = [trace(module, (2, 3, 8)) for module in modules]
    assert peak_bytes(chain(records)) == max(map(peak_bytes, records))
