"""The residual reduction of tokens, token by token."""

import pytest
import torch
from torch.nn import functional as F

from searchspace.build import build, flow
from searchspace.primitives.token_reduction import ResidualReduction
from searchspace.primitives.tokens import token_spec
from searchspace.shapes import ShapeError, image
from searchspace.tree import Node, primitive


def _lively(layer):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.4)
    return layer


@pytest.mark.parametrize("class_token", [False, True])
def test_each_new_token_is_written_out(class_token):
    layer = _lively(ResidualReduction(3, 5, 4, class_token))
    x = torch.randn(2, 16 + class_token, 3)
    y = layer(x)
    assert y.shape == (2, 4 + class_token, 5)
    normal = F.layer_norm(x, (3,), layer.norm.weight, layer.norm.bias, 1e-6)
    for i in range(2):
        for j in range(2):
            expected = layer.reduce.bias + layer.position[0, 2 * i + j]
            mean = torch.zeros(2, 3)
            for r in range(2 * i - 1, 2 * i + 2):
                for c in range(2 * j - 1, 2 * j + 2):
                    if min(r, c) < 0:
                        continue
                    place = class_token + 4 * r + c
                    tap = layer.reduce.weight[:, :, r - 2 * i + 1, c - 2 * j + 1]
                    expected = expected + normal[:, place] @ tap.T
                    if r >= 2 * i and c >= 2 * j:
                        mean += x[:, place] / 4
            expected = expected + torch.cat((mean, torch.zeros(2, 2)), dim=1)
            torch.testing.assert_close(y[:, class_token + 2 * i + j], expected)
    if class_token:
        projected = normal[:, 0] @ layer.project.weight.T + layer.project.bias
        past = torch.cat((x[:, 0], torch.zeros(2, 2)), dim=1)
        torch.testing.assert_close(y[:, 0], projected + past)


def test_a_class_token_is_told_by_the_number_of_tokens():
    node = primitive("residual_reduction", 440)
    assert flow(node, token_spec(16 * 16 + 1, 220)) == token_spec(8 * 8 + 1, 440)
    network = build(Node("net", 0, (), ((node,),)), token_spec(257, 220))
    count = 2 * 220 + 9 * 220 * 440 + 440 + 64 * 440 + 220 * 440 + 440
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (token_spec(9, 4), "a square of tokens of an even side"),
        (token_spec(10, 4), "a square of tokens of an even side"),
        (token_spec(1, 4), "a square of tokens of an even side"),
        (token_spec(15, 4), "a square of tokens of an even side"),
        (token_spec(16, 9), "must give 9 features or more, not 8"),
        (image(4, 4, 4), "residual_reduction needs tokens"),
    ],
)
def test_refusals(spec, words):
    with pytest.raises(ShapeError, match=words) as caught:
        flow(primitive("residual_reduction", 8), spec)
    assert str(spec) in str(caught.value)
