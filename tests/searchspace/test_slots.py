"""Soft slots: what GLMix computes between pixels and slots, and what is refused."""

import math

import pytest
import torch
from torch import nn

from searchspace.build import flow
from searchspace.primitives.slots import SoftSlots
from searchspace.shapes import ShapeError, TensorSpec, image
from searchspace.tree import primitive


def _node(side, *body):
    return primitive("soft_slots", side, children=(body,))


def test_slots_and_pixels_exchange_soft_max_means_of_their_cosines():
    """Pixel by pixel and slot by slot, as the paper writes it."""
    torch.manual_seed(0)
    layer = SoftSlots(nn.Linear(3, 3), channels=3, side=2).double()
    with torch.no_grad():
        layer.scale.fill_(2.0)
        x = torch.randn(1, 3, 4, 6, dtype=torch.double)
        pixels = [x[0, :, i, j] for i in range(4) for j in range(6)]
        first = [
            x[0, :, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].mean((1, 2))
            for i in range(2)
            for j in range(2)
        ]

        def weight(slot, pixel):
            return math.exp(2.0 * (slot @ pixel / slot.norm() / pixel.norm()).item())

        slots = []
        for slot in first:
            weights = [weight(slot, pixel) for pixel in pixels]
            slots.append(sum(w * p for w, p in zip(weights, pixels, strict=True)) / sum(weights))
        slots = [layer.body(slot) for slot in slots]
        expected = []
        for pixel in pixels:
            weights = [weight(slot, pixel) for slot in first]
            expected.append(sum(w * s for w, s in zip(weights, slots, strict=True)) / sum(weights))
        got = layer(x)[0].flatten(1).T
    torch.testing.assert_close(got, torch.stack(expected))


def test_the_scale_starts_at_one_over_the_root_of_the_width():
    layer = SoftSlots(nn.Identity(), channels=64, side=8)
    assert layer.scale.item() == pytest.approx(1 / 8)


def test_the_body_sees_slots_and_may_change_their_features():
    node = _node(3, primitive("linear", 10), primitive("attention", 2))
    assert flow(node, image(8, 7, 5)) == image(10, 7, 5)


@pytest.mark.parametrize(
    ("node", "spec", "words"),
    [
        (_node(3, primitive("class_token")), image(8, 7, 5), "keep the number of its slots, 9"),
        (_node(3, primitive("to_image")), image(8, 7, 5), "keep the number of its slots, 9"),
        (_node(3), TensorSpec("tokens", (4, 8)), "soft_slots needs an image; got tokens"),
    ],
)
def test_refusals(node, spec, words):
    with pytest.raises(ShapeError, match=words):
        flow(node, spec)
