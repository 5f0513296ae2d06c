"""What is replaced together, what alone, and what stays."""

from __future__ import annotations

import pytest
import torch
from stirred import stirred
from torch import Tensor, nn
from torch.nn import functional as F

import nas
from nas.rewrite import products
from searchspace.primitives.channel_mixers import Pointwise
from searchspace.primitives.norm import Bias, LayerScale


def conv_norm_act(**options: int) -> nn.Sequential:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, **{"kernel_size": 1, **options})
    return stirred(nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU(inplace=True)))


class Blocks(nn.Module):
    """Layers called from a forward, as published models do, not from a Sequential."""

    def __init__(self, peek: bool = False, twice: bool = False) -> None:
        super().__init__()
        self.peek, self.twice = peek, twice
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.BatchNorm2d(4)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = self.act(self.norm(y))
        if self.twice:
            z = self.act(self.norm(self.conv(z)))
        return z + y if self.peek else z


def seeded(module: nn.Module) -> nn.Module:
    for index, parameter in enumerate(module.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(index))
    return stirred(module)


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize(
    ("options", "operation"),
    [
        ({}, "pointwise_conv2d"),
        ({"stride": 2}, "torch.conv2d"),
        ({"kernel_size": 3, "padding": 1, "groups": 8}, "depthwise_conv2d"),
        ({"kernel_size": 3, "padding": 1, "groups": 8, "stride": 2}, "depthwise_conv2d"),
        ({"kernel_size": 3, "padding": 2, "groups": 8, "dilation": 2}, "depthwise_conv2d"),
        ({"kernel_size": (3, 5), "padding": "same", "groups": 8}, "depthwise_conv2d"),
        ({"kernel_size": 3, "groups": 8}, "torch.conv2d"),
        ({"kernel_size": 4, "padding": "same", "groups": 8}, "torch.conv2d"),
        ({"kernel_size": 3, "padding": 1, "groups": 2}, "torch.conv2d"),
        ({"padding": 1}, "torch.conv2d"),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, "torch.conv2d"),
        ({"kernel_size": (3, 1), "stride": (2, 1), "bias": False}, "torch.conv2d"),
    ],
)
def test_convolutions_take_in_what_follows(options: dict, operation: str) -> None:
    original = conv_norm_act(**options)
    module, report = nas.optimize(original, (2, 8, 9, 11))
    (entry,) = report.replaced
    assert entry.operation == operation
    assert entry.covers == (("0", "1") if operation == "torch.conv2d" else ("0", "1", "2"))
    x = torch.randn(1, 8, 7, 6, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(module(x), original(x), rtol=1e-4, atol=1e-5)


def test_layers_of_a_forward_are_joined_by_the_flow_of_data() -> None:
    module, report = nas.optimize(seeded(Blocks()), (1, 4, 8, 8))
    assert [entry.covers for entry in report.replaced] == [("conv", "norm", "act")]
    assert isinstance(module.conv, products.DepthwiseConv)
    assert isinstance(module.act, nn.Identity)


def test_scales_and_offsets_of_channels_are_taken_in() -> None:
    torch.manual_seed(0)
    parts = [Pointwise(4), Bias(4), LayerScale(4), nn.BatchNorm2d(4), LayerScale(4), nn.SiLU()]
    original = stirred(nn.Sequential(*parts))
    module, report = nas.optimize(original, (2, 4, 5, 5))
    assert [entry.covers for entry in report.replaced] == [("0.mix", "1", "2", "3", "4", "5")]
    x = torch.randn(2, 4, 3, 7, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(module(x), original(x), rtol=1e-4, atol=1e-5)
    rows = stirred(nn.Sequential(nn.Linear(6, 4), LayerScale(4)))
    assert len(nas.optimize(rows, (2, 3, 6)).report.replaced[0].covers) == 2
    # Of four dimensions the second is scaled, which is no column of the product.
    rows = stirred(nn.Sequential(nn.Linear(6, 4), LayerScale(3)))
    assert len(nas.optimize(rows, (2, 3, 5, 6)).report.replaced[0].covers) == 1


def test_a_small_factor_in_float16_stays_apart() -> None:
    torch.manual_seed(0)
    original = nn.Sequential(Pointwise(4), LayerScale(4, 1e-6)).eval().half()
    report = nas.optimize(original, (2, 4, 5, 5)).report
    assert [entry.covers for entry in report.replaced] == [("0.mix",)]


def test_what_others_read_is_not_folded() -> None:
    report = nas.optimize(seeded(Blocks(peek=True)), (1, 4, 8, 8)).report
    assert [entry.covers for entry in report.replaced] == [("conv",), ("norm", "act")]


def test_a_layer_that_runs_twice_is_replaced_alone() -> None:
    report = nas.optimize(seeded(Blocks(twice=True)), (1, 4, 8, 8)).report
    assert [entry.covers for entry in report.replaced] == [("conv",), ("norm",)]
    shared = nn.Linear(4, 4)
    module = nas.optimize(nn.Sequential(shared, nn.ReLU(), shared).eval(), (2, 4)).module
    assert module[0] is module[2]


def test_hooks_and_subclasses_are_left_and_told() -> None:
    class Odd(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, 2 * self.weight)

    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda module, args, result: 2 * result)
    report = nas.optimize(nn.Sequential(Odd(4, 4), hooked).eval(), (2, 4)).report
    assert report.replaced == ()
    assert [(entry.path, entry.kind) for entry in report.left] == [("0", "Odd"), ("1", "Linear")]
    assert "hooks" in report.left[1].reason
    assert "2 left" not in str(report) or "hooks" in str(report)


@pytest.mark.filterwarnings("ignore:Complex modules:UserWarning")
def test_mixed_dtypes_are_left() -> None:
    class Mixed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](self[0](x).float())

    report = nas.optimize(Mixed(nn.Linear(4, 4).half(), nn.LayerNorm(4)).eval(), (2, 4)).report
    assert [entry.path for entry in report.replaced] == ["0", "1"]
    odd = nn.Sequential(nn.Conv2d(4, 4, 1).to(torch.complex64)).eval()
    (left,) = nas.optimize(odd, torch.ones(1, 4, 2, 2, dtype=torch.complex64)).report.left
    assert "complex64" in left.reason


def test_attention_of_torch_keeps_what_it_reads_itself() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    report = nas.optimize(layer, (2, 5, 16)).report
    assert "self_attn.out_proj" not in {entry.path for entry in report.replaced}
