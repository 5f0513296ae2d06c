"""Mixers of tokens against their formulas, written out value by value."""

import pytest
import torch
from torch.nn import functional as F

from searchspace.build import flow
from searchspace.primitives.token_mixers import GatedMixer, RaftMixer
from searchspace.primitives.tokens import token_spec
from searchspace.shapes import ShapeError, image
from searchspace.tree import primitive


@pytest.mark.parametrize("rafts", [1, 2, 4])
@pytest.mark.parametrize("axis", ["vertical", "horizontal"])
def test_rafts_mix_along_one_direction(axis, rafts):
    channels, height, width = 8, 3, 5
    length = height if axis == "vertical" else width
    layer, x = RaftMixer(length, rafts, 2, axis), torch.randn(2, channels, height, width)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.4)
    expected = torch.zeros_like(x)
    step = channels // rafts
    for first in range(step):
        members = range(first, channels, step)
        for line in range(width if axis == "vertical" else height):
            pick = [x[:, c, :, line] if axis == "vertical" else x[:, c, line] for c in members]
            hidden = F.gelu(torch.cat(pick, 1) @ layer.expand.weight.T + layer.expand.bias)
            result = (hidden @ layer.project.weight.T + layer.project.bias).split(length, dim=1)
            for c, values in zip(members, result, strict=True):
                if axis == "vertical":
                    expected[:, c, :, line] = values
                else:
                    expected[:, c, line] = values
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_the_gate_is_a_mixer_layer():
    layer, x = GatedMixer(6, 4, 5), torch.randn(2, 4, 6)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.4)

    def mlp(part, y):
        first, last = part[0], part[2]
        return F.gelu(y @ first.weight.T + first.bias) @ last.weight.T + last.bias

    def norm(index, y):
        y = (y - y.mean(2, keepdim=True)) / (y.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
        return y * layer.norms[index].weight + layer.norms[index].bias

    gate = x + mlp(layer.tokens, norm(0, x).transpose(1, 2)).transpose(1, 2)
    gate = gate + mlp(layer.features, norm(1, gate))
    expected = (x @ layer.project.weight.T + layer.project.bias) * gate
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("node", "spec"),
    [
        (primitive("raft_mixer", 3, 2, "vertical"), image(8, 4, 4)),
        (primitive("raft_mixer", 2, 2, "horizontal"), token_spec(16, 8)),
        (primitive("gated_mixer", 8), image(8, 4, 4)),
    ],
)
def test_what_is_not_served_is_refused_in_a_sentence(node, spec):
    with pytest.raises(ShapeError, match=r"needs .*; got "):
        flow(node, spec)
