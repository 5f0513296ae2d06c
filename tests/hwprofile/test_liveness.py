from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hwprofile.allocator import held_bytes
from hwprofile.fuse import fuse
from hwprofile.fuse_rules import GRAPH_RULES
from hwprofile.liveness import peak_bytes
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

    # x 8, its double 8, exp 2, and its sum 1.
    assert peak_bytes(trace(Half(), (2, 4))) == 2 * 19


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


def held(module: nn.Module, *shape: int) -> int:
    """What the allocator says, with the input."""
    x = torch.randn(shape)
    with torch.inference_mode():
        module(x)
        return x.nbytes + held_bytes(lambda: module(x)).tensors


@settings(max_examples=20, deadline=None)
@given(blocks())
def test_agrees_with_the_allocator(module: nn.Module) -> None:
    module.eval()
    assert peak_bytes(trace(module, (2, 3, 8)), 4) == held(module, 2, 3, 8)


class Dense(nn.Module):
    """Concatenations that grow, as in DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(c, 8, 3, padding=1) for c in (8, 16, 24))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = torch.cat([x, conv(x)], 1)
        return x


class Gate(nn.Module):
    """Squeeze-excite."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu_()).sigmoid()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, 2, 16).permute(2, 0, 3, 1, 4)
        x = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        return self.out(x.transpose(1, 2).reshape(n, t, 32))


def conv(width_in: int, width: int, groups: int = 1) -> nn.Module:
    product = nn.Conv2d(width_in, width, 3, padding=1, groups=groups)
    return nn.Sequential(product, nn.BatchNorm2d(width), nn.ReLU6(inplace=True))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(conv(3, 16), Residual(conv(16, 16)), Gate()), (2, 3, 12, 12)),
        (nn.Sequential(conv(3, 8), conv(8, 48), conv(48, 48, 48), conv(48, 8)), (1, 3, 16, 16)),
        (Dense(), (2, 8, 9, 9)),
        (nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), Attention()), (2, 50, 8)),
        (nn.Sequential(Split(8), Residual(Split(8))), (4, 7, 8)),
    ],
    ids=["residual and gate", "inverted", "dense", "attention", "chunks"],
)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_usual_modules_hold_what_the_allocator_says(
    module: nn.Module, shape: tuple[int, ...], layout: str
) -> None:
    if layout == "nhwc" and len(shape) == 4:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.eval()
    assert peak_bytes(trace(module, shape, layout=layout), 4) == held(module, *shape)


def test_what_local_variables_hold_longer_is_not_counted() -> None:
    # q, k and v are names of the first product until attention returns.
    module = Residual(Attention())
    found = held(module, 2, 20, 32)
    assert 0.9 * found < peak_bytes(trace(module, (2, 20, 32)), 4) < found


@settings(max_examples=40, deadline=None)
@given(st.lists(blocks(), min_size=1, max_size=4))
def test_the_peak_of_a_chain_is_the_largest_of_its_blocks(modules: list[nn.Module]) -> None:
    records = [trace(module, (2, 3, 8)) for module in modules]
    peaks = [peak_bytes(record) for record in records]
    waiting = [0] + [2 * 48] * (len(peaks) - 1)
    blocks = [a + b for a, b in zip(peaks, waiting, strict=True)]
    found = peak_bytes(chain(records))
    # A block that does nothing hands on the chain's input, which is then not there twice.
    assert found <= max(blocks)
    if all(record.calls and not record.overwrites for record in records):
        assert found == max(blocks)


def test_fusion_stores_only_what_launches_write() -> None:
    # The activation joins the first product, the sum the second: 16 + 64, then 16 + 64 + 16.
    module = Residual(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)))
    assert peak_bytes(trace(module, (2, 8)), rules=GRAPH_RULES) == 2 * 96


@settings(max_examples=40, deadline=None)
@given(blocks())
def test_fused_a_launch_finds_all_that_it_reads_and_writes(module: nn.Module) -> None:
    record = trace(module, (2, 3, 8))
    peak = peak_bytes(record, rules=GRAPH_RULES)
    assert peak >= 2 * 48
    for kernel in fuse(record):
        assert kernel.read_bytes + kernel.write_bytes <= peak
