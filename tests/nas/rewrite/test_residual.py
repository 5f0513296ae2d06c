"""Sums of a residual connection are done by the product before them."""

from __future__ import annotations

import torch
from stirred import stirred
from torch import nn

import nas
from hwprofile.trace import trace
from searchspace.primitives.channel import InvertedMLP
from searchspace.primitives.channel_mixers import Pointwise
from searchspace.primitives.composite import Residual
from searchspace.primitives.norm import LayerScale


def test_the_last_product_of_a_residual_adds_it() -> None:
    torch.manual_seed(0)
    inner = Residual(nn.Sequential(Pointwise(4), nn.BatchNorm2d(4), nn.ReLU()))
    body = nn.Sequential(inner, InvertedMLP(4, 2, "gelu"), LayerScale(4))
    original = stirred(nn.Sequential(Residual(body), Residual(nn.Sequential(nn.ReLU()))))
    module, report = nas.optimize(original, (2, 4, 5, 5))
    whole = {entry.path for entry in report.replaced if entry.kinds == ("Residual",)}
    assert whole == {"0", "0.body.0"}
    record = trace(module, (2, 4, 5, 5))
    ops = ["convolution", "relu", "add", "convolution", "gelu", "convolution", "add", "relu", "add"]
    assert [call.op for call in record.calls] == ops
    exported = torch.export.export(module, (torch.ones(2, 4, 5, 5),))
    sums = [node for node in exported.graph.nodes if "add" in str(node.target)]
    assert len(sums) == 1
    x = torch.randn(2, 4, 3, 7, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(module(x), original(x), rtol=1e-4, atol=1e-5)


def test_a_body_that_spreads_over_its_input_is_left() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1))
    report = nas.optimize(Residual(body).eval(), (2, 4, 5, 5)).report
    assert [entry.operation for entry in report.replaced] == [
        "global_average_pool",
        "pointwise_conv2d",
    ]
