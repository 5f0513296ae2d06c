"""Functions that forwards call are replaced as modules are, and only where nothing changes."""

from __future__ import annotations

import copy

import pytest
import torch
from stirred import stirred
from torch import Tensor, nn
from torch.nn import functional as F

import nas


def seeded(module: nn.Module) -> nn.Module:
    for index, parameter in enumerate(module.parameters()):
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(index))
    return stirred(module)


def optimised(original: nn.Module, *shapes: tuple[int, ...]) -> tuple[nn.Module, set[str], object]:
    """The network, which agrees with the original for another batch, its operators, the report."""
    module, report = nas.optimize(original, *shapes)
    generator = torch.Generator().manual_seed(3)
    x = [torch.randn((3, *shape[1:]), generator=generator) for shape in shapes]
    torch.testing.assert_close(module(*x), original(*x), rtol=1e-4, atol=1e-5)
    return module, {entry.operation for entry in report.replaced}, report


class Basic(nn.Module):
    """A residual block as in published code: functions between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8)
        self.conv3, self.gamma = nn.Conv2d(8, 4, 1), nn.Parameter(torch.ones(4))
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.hardswish(self.bn2(self.conv2(input=y)))
        if y.shape[2] > 2:
            y = self.conv3(y) * self.gamma.reshape(1, -1, 1, 1)
        x = torch.relu(x + y)
        x = F.avg_pool2d(F.max_pool2d(x, 3, 2, 1), 2)
        return self.fc(x.mean((2, 3)))


def test_functions_behind_layers_are_taken_in() -> None:
    module, _, report = optimised(seeded(Basic()), (2, 4, 8, 8))
    covers = {entry.operation: entry.kinds for entry in report.replaced}
    assert covers["pointwise_conv2d"] == ("Conv2d", "Scale")
    assert covers["depthwise_conv2d"] == ("Conv2d", "BatchNorm2d", "Hardswish")
    assert {"max_pool2d", "average_pool2d", "global_average_pool", "gemm"} <= set(covers)
    (first, *_) = report.replaced
    assert first.kinds == ("Conv2d", "BatchNorm2d", "ReLU")
    assert [entry.kind for entry in report.left] == ["ReLU"]  # of the sum
    copy.deepcopy(module)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (F.relu, "relu"),
        (lambda x: x.relu(), "relu"),
        (F.gelu, "gelu"),
        (F.silu, "silu"),
        (F.relu6, "relu6"),
        (F.hardswish, "hardswish"),
        (F.hardsigmoid, "hardsigmoid"),
        (torch.sigmoid, "sigmoid"),
        (lambda x: F.hardtanh(x, 0.0, 6.0), "relu6"),
        (lambda x: F.gelu(x, approximate="tanh"), "none"),
        (F.softplus, "none"),
    ],
)
def test_activations(function, name: str) -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            return function(self.linear(x))

    module, _, _ = optimised(seeded(Layer()), (2, 4))
    assert module.linear.activation == name


class Attention(nn.Module):
    """As in many vision transformers."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.options = options

    def forward(self, x: Tensor, mask: Tensor | None = None, dropout: float = 0.5) -> Tensor:
        batch, tokens, features = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        dropout = dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout, **self.options)
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, features))


class Masked(nn.Module):
    """Hands a mask on, which it makes itself."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.attention = Attention()
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, mask=self.mask) + self.attention(x, mask=self.mask)


SEEN = torch.ones(5, 5, dtype=torch.bool).tril()


@pytest.mark.parametrize(
    "original",
    [
        Attention(),
        Attention(is_causal=True, scale=0.3),
        Masked(SEEN),
        Masked(torch.linspace(-1, 1, 50).reshape(2, 5, 5)),
    ],
)
def test_attention_is_an_operator_that_tools_see(original: nn.Module) -> None:
    module, operations, _ = optimised(seeded(original), (2, 5, 8))
    assert operations == {"gemm", "attention"}
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(4))
    exported = torch.export.export(module, (x,))
    assert "nas.attention.default" in {str(node.target) for node in exported.graph.nodes}
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), original(x), rtol=1e-4, atol=1e-5)


class Cross(nn.Module):
    def __init__(self, weights: bool = False, **options: object) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, **options)
        self.weights = weights

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        y = x if y is None else y
        hidden = torch.ones(x.shape[1], y.shape[1], dtype=torch.bool, device=x.device).triu(1)
        z, weights = self.attention(x, y, y, attn_mask=hidden)
        return z * weights.mean() if self.weights else z


@pytest.mark.parametrize(
    ("original", "shapes"),
    [
        (Cross(batch_first=True), ((2, 5, 8),)),
        (Cross(batch_first=True, kdim=6, vdim=6, bias=False), ((2, 5, 8), (2, 4, 6))),
    ],
)
def test_multihead_attention_of_torch(original: nn.Module, shapes: tuple) -> None:
    _, operations, _ = optimised(seeded(original), *shapes)
    assert operations == {"gemm", "attention"}


def test_multihead_attention_with_the_batch_second() -> None:
    class Second(nn.MultiheadAttention):
        pass

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = Second(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(query=x, key=x, value=x, need_weights=False)[0]

    assert optimised(seeded(Rows()), (5, 2, 8))[1] == {"gemm", "attention"}


def test_attention_whose_weights_are_read_stays() -> None:
    _, operations, report = optimised(seeded(Cross(weights=True, batch_first=True)), (2, 5, 8))
    assert operations == set()
    assert "weights are read" in str(report)


def test_forwards_that_are_no_graphs_stay_and_are_told() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert isinstance(x, Tensor)
            return F.relu(x)

    class Other(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x if isinstance(x, Tensor) else -x)

    original = seeded(nn.Sequential(nn.Linear(4, 4), Odd()))
    module, operations, report = optimised(original, (2, 4))
    assert operations == {"gemm"}
    assert isinstance(module[1], Odd)
    assert "cannot be written as a graph" in str(report)
    assert "returns something else" in str(nas.optimize(Other().eval(), (2, 4)).report)


def test_modules_called_with_keywords_are_replaced() -> None:
    class Named(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[2](input=self[1](input=self[0](input=x)))

    parts = (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    _, operations, report = optimised(seeded(Named(*parts)), (2, 4, 5, 5))
    assert operations == {"pointwise_conv2d"}
    assert len(report.replaced[0].covers) == 3
