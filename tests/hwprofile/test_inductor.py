"""The rules for TorchInductor on a CPU are what the code says that it generates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwprofile.observed import Launched, agreeing, compiled, launched
from hwprofile.runtime import RUNTIMES, launches
from hwprofile.trace import trace


class Residual(nn.Module):
    """Two convolutions beside a projection; a gate; scales by a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.wide = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.SiLU())
        self.back = nn.Conv2d(32, 16, 1)
        self.down, self.up = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.scale = nn.Parameter(torch.ones(16, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        x = F.relu(x + self.back(self.wide(x)) * self.scale)
        gate = self.up(F.relu(self.down(x.mean((2, 3), keepdim=True))))
        return x * gate.sigmoid() + x.roll(1, 2)


class Depthwise(nn.Module):
    """A norm over permuted channels after a depthwise convolution, as ConvNeXt has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(16, 16, 7, padding=3, groups=16), nn.LayerNorm(16)
        self.grow, self.shrink = nn.Linear(16, 64), nn.Linear(64, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        y = self.shrink(F.gelu(self.grow(y))).permute(0, 3, 1, 2)
        return F.avg_pool2d(torch.cat([x, y], 1), 2)


class Attention(nn.Module):
    """A block of a transformer on embedded tokens."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.norm, self.qkv, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)
        self.fused = fused

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, n, 3, 4, -1).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q * 0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        return x + self.out(y.transpose(1, 2).reshape(b, n, c))


IMAGE, TOKENS = torch.randn(1, 3, 64, 64), torch.zeros(1, 9, dtype=torch.long)
CASES: dict[str, tuple[nn.Module, Tensor, torch.dtype, str]] = {
    "residual and gate": (Residual(), IMAGE, torch.float32, "fp32"),
    "depthwise": (Depthwise(), torch.randn(1, 16, 32, 32), torch.float32, "fp32"),
    "depthwise, 16 bits": (Depthwise(), torch.randn(1, 16, 32, 32), torch.bfloat16, "bf16"),
    "attention": (Attention(fused=True), TOKENS, torch.float32, "fp32"),
    "attention in parts": (Attention(fused=False), TOKENS, torch.bfloat16, "bf16"),
}


@pytest.mark.parametrize("name", CASES)
def test_library_calls_and_functions_are_those_of_the_generated_code(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, given, dtype, scheme = CASES[name]
    if scheme != "fp32":
        # Machines differ in whether oneDNN serves 16 bits; all can do without.
        unserved = "torch._inductor.fx_passes.mkldnn_fusion.is_mkldnn_bf16_supported"
        monkeypatch.setattr(unserved, lambda device: False, raising=False)
        monkeypatch.setattr("hwprofile.inductor.served", lambda scheme: False)
    module = module.eval().to(dtype)
    given = given.to(dtype) if given.is_floating_point() else given
    rules = launched(launches(trace(module, given), RUNTIMES["cpu-inductor"], scheme))
    code = compiled(module, given)
    assert [call.call for call in rules] == [call.call for call in code]
    assert agreeing(rules, code) == len(code)


def test_agreement_counts_calls_in_order() -> None:
    def library(call: str, *ops: str) -> Launched:
        return Launched(call, frozenset(ops))

    a, b, f = library("convolution", "relu"), library("linear"), library("", "add")
    assert agreeing([a, f, b], [a, f, b]) == 3
    assert agreeing([a, b], [b, a]) == 1
    assert agreeing([library("convolution")], [a]) == 0
    assert agreeing([f], [library("", "add", "gelu")]) == 1
    assert agreeing([], [a]) == 0
