"""Costs of structures against the published figures and against torch's own modules."""

import pytest
import torch
from deepmad_structures import PUBLISHED, QUANTIZED, published, structures
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from predictors.structure import DENSE, DEPTHWISE, GATED, PLAIN, Part, Structure
from predictors.structure_cost import counts


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name):
    found, wanted = counts(published(name)), PUBLISHED[name]
    assert (found.params, found.size, found.flops) == (
        wanted["params"],
        wanted["params"],
        wanted["flops"],
    )
    assert 0.95 * found.flops < found.macs < found.flops


@pytest.mark.parametrize("name", QUANTIZED)
def test_bits_scale_what_the_toolbox_counts(name):
    found, wanted = counts(published(name)), QUANTIZED[name]
    assert found.size == pytest.approx(wanted["size"], rel=1e-12)
    assert found.flops == pytest.approx(wanted["flops"], rel=1e-12)
    assert found.flops < found.macs


class Convolution(nn.Sequential):
    def __init__(self, a, b, k=1, s=1, g=1):
        conv = nn.Conv2d(a, b, k, s, k // 2, groups=g, bias=False)
        super().__init__(conv, nn.BatchNorm2d(b))


class SqueezeExcite(nn.Sequential):
    def __init__(self, width):
        hidden = 8 * max(1, round(width / 4) // 8)
        pool = nn.AdaptiveAvgPool2d(1)
        super().__init__(pool, Convolution(width, hidden), Convolution(hidden, width))

    def forward(self, x):
        return x * super().forward(x)


class Block(nn.Module):
    def __init__(self, part, a, s, first):
        super().__init__()
        m, b = part.btn, part.out
        groups = 1 if part.kind == DENSE else m
        gate = [SqueezeExcite(m)] if part.kind == GATED else []
        middle = Convolution(m, m, part.k, s, groups)
        self.body = nn.Sequential(Convolution(a, m), middle, *gate, Convolution(m, b))
        link = [nn.AvgPool2d(2, 2)] if s == 2 else []
        if part.kind == DENSE and first:
            link.append(Convolution(a, b))
        self.link = nn.Sequential(*link) if part.kind == DENSE or a == b else None

    def forward(self, x):
        return self.body(x) + (0 if self.link is None else self.link(x))


def network(structure: Structure) -> nn.Sequential:
    parts = []
    for part in structure.parts:
        if part.kind == PLAIN:
            parts.append(Convolution(part.ins, part.out, part.k, part.s))
            continue
        parts.append(Block(part, part.ins, part.s, True))
        parts += [Block(part, part.out, 1, False) for _ in range(part.depth - 1)]
    return nn.Sequential(*parts)


@settings(max_examples=12)
@given(structures((DENSE, DEPTHWISE, GATED), bits=False), st.integers(1, 2))
def test_parameters_and_multiply_adds_against_torch(structure, times):
    resolution, macs = structure.stride * times, 0

    def count(module, inputs, output):
        nonlocal macs
        macs += module.weight.numel() * output.shape[2] * output.shape[3]

    with torch.device("meta"):
        found = network(structure)
        for module in found.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(count)
        found(torch.empty(2, 3, resolution, resolution))
    params = sum(parameter.numel() for parameter in found.parameters())
    costs = counts(structure, resolution)
    assert (costs.params, costs.size, costs.macs) == (params, params, macs)


@given(structures(bits=False))
def test_eight_bits_count_as_float_does(structure):
    eight = Structure(
        tuple(
            Part(
                kind=p.kind,
                ins=p.ins,
                out=p.out,
                k=p.k,
                s=p.s,
                btn=p.btn,
                depth=p.depth,
                bits=((8, 8),) * p.convolutions,
            )
            for p in structure.parts
        )
    )
    assert counts(eight) == counts(structure)


def test_flops_of_one_convolution():
    """27 x 8 multiply-adds, batch norm's 2 x 8 and ReLU's 8, at 4 x 4 places."""
    found = counts(Structure((Part(kind=PLAIN, ins=3, out=8, k=3, s=2),)), 8)
    assert (found.flops, found.macs, found.params) == (16 * (216 + 24), 16 * 216, 216 + 16)
