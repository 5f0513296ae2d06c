"""Dynamic convolutions against loops over pixels and the papers' formulas."""

import pytest
import torch
from torch.nn import functional as F

from searchspace.build import flow
from searchspace.primitives.dynamic_convolution import (
    DynamicMixer,
    GatedRecursiveConv,
    LSConv,
    windowed_sum,
)
from searchspace.shapes import ShapeError, image
from searchspace.tree import primitive


def _looped(x, weights, kernel):
    """Every pixel's window with its own weights, `[B, H, W, G, k²]`, one product at a time."""
    _, channels, height, width = x.shape
    half, per_group = kernel // 2, channels // weights.shape[3]
    y = torch.zeros_like(x)
    for h in range(height):
        for w in range(width):
            for i in range(kernel):
                for j in range(kernel):
                    r, c = h + i - half, w + j - half
                    if 0 <= r < height and 0 <= c < width:
                        weight = weights[:, h, w, :, i * kernel + j]
                        y[:, :, h, w] += weight.repeat_interleave(per_group, 1) * x[:, :, r, c]
    return y


@pytest.mark.parametrize(("groups", "kernel"), [(1, 3), (2, 5), (6, 3)])
def test_windows_are_summed_with_weights_of_their_own(groups, kernel):
    x, weights = torch.randn(2, 6, 4, 3), torch.randn(2, 4, 3, groups, kernel**2)
    torch.testing.assert_close(windowed_sum(x, weights, kernel), _looped(x, weights, kernel))


def test_ls_conv_aggregates_with_what_it_perceives():
    torch.manual_seed(0)
    layer, x = LSConv(16).eval(), torch.randn(2, 16, 5, 6)
    perceived = layer.perceive(x)  # [B, 2 * 9, H, W]: the nine weights of a group in a row.
    assert perceived.shape == (2, 18, 5, 6)
    weights = torch.stack([perceived[:, :9], perceived[:, 9:]], 1).permute(0, 3, 4, 1, 2)
    torch.testing.assert_close(layer(x), _looped(x, weights, 3), rtol=1e-4, atol=1e-5)
    # C · C/2 + 49 · C/2 + (C/2)² + C/2 · 9 · C/8 with bias, three batch norms, a group norm.
    expected = 16 * 8 + 49 * 8 + 64 + (8 * 18 + 18) + 3 * 2 * 8 + 2 * 18
    assert sum(p.numel() for p in layer.parameters()) == expected


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_gates_follow_the_recursion(order):
    torch.manual_seed(0)
    layer, x = GatedRecursiveConv(32, order), torch.randn(2, 32, 5, 4)
    widths = [32 // 2 ** (order - 1 - k) for k in range(order)]
    mixed = layer.enter(x)
    p, q = mixed[:, : widths[0]], mixed[:, widths[0] :]
    conv = layer.spatial
    q = F.conv2d(q, conv.weight, conv.bias, padding=3, groups=q.shape[1])
    for k, width in enumerate(widths):
        if k:
            w = layer.widen[k - 1]
            p = torch.einsum("oi,bihw->bohw", w.weight[:, :, 0, 0], p) + w.bias[:, None, None]
        start = sum(widths[:k])
        p = q[:, start : start + width] * p / 3
    torch.testing.assert_close(layer(x), layer.leave(p))


def test_dynamic_kernels_come_from_affinities_to_regions():
    torch.manual_seed(0)
    layer, x = DynamicMixer(8, 3, 2).eval(), torch.randn(2, 8, 7, 14)
    with torch.no_grad():
        layer.weigh.weight.normal_()
        layer.places.normal_()
        for conv in (layer.query[0], layer.key[1], layer.mix[0]):
            conv.weight.normal_()
    regions = F.avg_pool2d(x, (1, 2))  # 7 × 14 pixels in 7 × 7 regions.
    query, key = layer.query(x), layer.key[2](layer.key[1](regions))
    weights = torch.zeros(2, 7, 14, 2, 25 + 9)
    for head in range(2):
        part = slice(2 * head, 2 * head + 2)
        affinity = torch.einsum("bchw,bcl->bhwl", query[:, part], key[:, part].flatten(2)) / 2
        weights[:, :, :, head] = layer.weigh(affinity) + layer.places[head]
    small = _looped(x[:, :4], weights[..., :25].softmax(-1), 5)
    large = _looped(x[:, 4:], weights[..., 25:].softmax(-1), 3)
    expected = layer.mix(torch.cat((small, large), 1))
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (primitive("ls_conv"), "a multiple of 8 channels"),
        (primitive("gated_recursive_conv", 4), "a multiple of 8 channels"),
        (primitive("dynamic_mixer", 3, 3), "a multiple of 6 channels"),
    ],
)
def test_refusals(node, words):
    with pytest.raises(ShapeError, match=words):
        flow(node, image(4, 5, 5))
