"""Tokens of two scales: joined and parted without loss, class tokens that exchange themselves."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from searchspace.build import flow
from searchspace.primitives.two_scales import (
    ClassTokenVisit,
    CrossAttention,
    JoinScales,
    ResizeTo,
    Scale,
)
from searchspace.shapes import ShapeError, TensorSpec, image
from searchspace.tree import primitive


class Given(nn.Module):
    """A tensor, whatever comes in."""

    def __init__(self, y):
        super().__init__()
        self.y = y

    def forward(self, x):
        return self.y


@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_is_joined_comes_apart_again(times):
    fine, coarse = torch.randn(2, 5, 4), torch.randn(2, 3, 4 * times)
    x = JoinScales(Given(fine), Given(coarse))(torch.empty(0))
    assert x.shape == (2, 5 + 3 * times, 4)
    assert torch.equal(Scale(5, times, "fine")(x), fine)
    assert torch.equal(Scale(5, times, "coarse")(x), coarse)


def _attended(visit, token, others):
    """The visit of a class token by torch's own attention layer."""
    width = others.shape[2]
    reference = nn.MultiheadAttention(width, visit.heads, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat((visit.q.weight, visit.kv.weight)))
        reference.in_proj_bias.copy_(torch.cat((visit.q.bias, visit.kv.bias)))
        reference.out_proj.load_state_dict(visit.project.state_dict())
        there = visit.there(token)
        keys = F.layer_norm(
            torch.cat((there, others), 1), (width,), visit.norm.weight, visit.norm.bias, 1e-6
        )
        mixed, _ = reference(keys[:, :1], keys, keys)
        return visit.back(there + mixed)


def test_class_tokens_attend_to_the_other_scale_and_nothing_else_moves():
    torch.manual_seed(0)
    layer = CrossAttention(8, tokens=5, times=2, heads=4)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 5 + 2 * 3, 8)
    fine, coarse = Scale(5, 2, "fine")(x), Scale(5, 2, "coarse")(x)
    with torch.no_grad():
        y = layer(x)
    first, second = Scale(5, 2, "fine")(y), Scale(5, 2, "coarse")(y)
    assert torch.equal(first[:, 1:], fine[:, 1:])
    assert torch.equal(second[:, 1:], coarse[:, 1:])
    expected = _attended(layer.fine, fine[:, :1], coarse[:, 1:])
    torch.testing.assert_close(first[:, :1], expected)
    expected = _attended(layer.coarse, coarse[:, :1], fine[:, 1:])
    torch.testing.assert_close(second[:, :1], expected)


def test_a_visit_keeps_its_own_width():
    visit = ClassTokenVisit(6, 12, heads=3)
    assert visit(torch.randn(2, 1, 6), torch.randn(2, 7, 12)).shape == (2, 1, 6)


def test_an_image_of_the_right_size_is_left_as_it_is():
    x = torch.randn(2, 3, 8, 8)
    assert ResizeTo(8)(x) is x
    flat = torch.full((1, 1, 5, 7), 3.0)
    torch.testing.assert_close(ResizeTo(16)(flat), torch.full((1, 1, 16, 16), 3.0))


TOKENS = TensorSpec("tokens", (11, 8))


@pytest.mark.parametrize(
    ("node", "spec", "words"),
    [
        (primitive("scale", 4, 2, "fine"), TOKENS, "4 fine tokens and then 2 rows for each"),
        (primitive("scale", 11, 2, "coarse"), TOKENS, r"got tokens\[11, 8\]"),
        (primitive("scale", 5, 2, "fine"), image(8, 4, 4), "scale needs tokens"),
        (primitive("cross_attention", 5, 2, 3), TOKENS, "features that 3 heads divide"),
        (primitive("resize_to", 4), image(3, 1, 1), "more than one pixel"),
        (
            primitive(
                "join_scales",
                children=((primitive("linear", 8),), (primitive("linear", 12),)),
            ),
            TOKENS,
            "multiple of the features of the first",
        ),
    ],
)
def test_refusals(node, spec, words):
    with pytest.raises(ShapeError, match=words):
        flow(node, spec)
