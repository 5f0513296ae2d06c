"""Attention: each kind against torch's own, or against its formula written out."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from searchspace.build import calls, flow, module_of
from searchspace.primitives.attention import (
    Attention,
    GatedPositionalAttention,
    GroupedQueryAttention,
    LinearAttention,
    WindowAttention,
)
from searchspace.primitives.tokens import token_spec
from searchspace.shapes import ShapeError, image
from searchspace.tree import primitive


def lively(module):
    """A module whose parameters are all random, biases too."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.4)
    return module


def torch_attention(layer, channels, heads):
    """torch's own module with the same weights."""
    found = nn.MultiheadAttention(channels, heads, bias=True, batch_first=True)
    with torch.no_grad():
        found.in_proj_weight.copy_(layer.qkv.weight)
        found.in_proj_bias.zero_()
        if layer.qkv.bias is not None:
            found.in_proj_bias.copy_(layer.qkv.bias)
        found.out_proj.weight.copy_(layer.project.weight)
        found.out_proj.bias.copy_(layer.project.bias)
    return found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("channels", "heads"), [(8, 1), (12, 3), (16, 16)])
def test_attention_equals_that_of_torch(channels, heads, bias):
    layer, x = lively(Attention(channels, heads, bias)), torch.randn(2, 9, channels)
    expected, _ = torch_attention(layer, channels, heads)(x, x, x)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_only_the_unbiased_one_has_no_biases():
    for name, bias in (("attention", True), ("unbiased_attention", False)):
        (call,), _ = calls((primitive(name, 2),), token_spec(4, 8))
        assert (module_of(call).qkv.bias is not None) == bias


@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 5), (2, 2)])
def test_windows_attend_inside_with_a_bias_by_relative_position(height, width):
    heads, s, channels = 2, 3, 8
    layer, x = lively(WindowAttention(channels, heads, s)), torch.randn(2, channels, height, width)
    y = layer(x)
    padded = F.pad(x, (0, -width % s, 0, -height % s))
    out = torch.zeros_like(padded)
    for top in range(0, padded.shape[2], s):
        for left in range(0, padded.shape[3], s):
            places = [(top + i, left + j) for i in range(s) for j in range(s)]
            values = torch.stack([padded[:, :, i, j] for i, j in places], 1)
            q, k, v = (values @ layer.qkv.weight.T + layer.qkv.bias).split(channels, dim=2)
            heard = []
            for h in range(heads):
                part = slice(h * 4, h * 4 + 4)
                scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(4)
                for a, (i, j) in enumerate(places):
                    for b, (m, n) in enumerate(places):
                        scores[:, a, b] += layer.table[h, i - m + s - 1, j - n + s - 1]
                heard.append(scores.softmax(2) @ v[..., part])
            result = torch.cat(heard, 2) @ layer.project.weight.T + layer.project.bias
            for a, (i, j) in enumerate(places):
                out[:, :, i, j] = result[:, a]
    torch.testing.assert_close(y, out[:, :, :height, :width], rtol=1e-4, atol=1e-4)
    assert layer.table.numel() == heads * (2 * s - 1) ** 2


def test_linear_attention_is_a_weighted_mean_by_feature_maps():
    heads, channels = 2, 8
    layer, x = lively(LinearAttention(channels, heads)), torch.randn(2, 5, channels)
    q, k, v = (x @ layer.qkv.weight.T + layer.qkv.bias).split(channels, dim=2)
    heard = []
    for h in range(heads):
        part = slice(h * 4, h * 4 + 4)
        phi = [torch.where(z > 0, z + 1, z.exp())[..., part] for z in (q, k)]
        weights = phi[0] @ phi[1].transpose(1, 2)  # [2, N, N], what the layer never makes
        heard.append(weights / weights.sum(2, keepdim=True) @ v[..., part])
    expected = torch.cat(heard, 2) @ layer.project.weight.T + layer.project.bias
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("heads", "groups"), [(4, 1), (4, 2), (4, 4), (6, 3)])
def test_grouped_queries_equal_repeated_keys_and_values(heads, groups):
    channels = 24
    layer, x = lively(GroupedQueryAttention(channels, heads, groups)), torch.randn(2, 5, channels)
    size = channels // heads
    weight = layer.kv.weight.unflatten(0, (2, groups, size)).repeat_interleave(heads // groups, 1)
    bias = layer.kv.bias.unflatten(0, (2, groups, size)).repeat_interleave(heads // groups, 1)
    full = Attention(channels, heads)
    with torch.no_grad():
        full.qkv.weight.copy_(torch.cat((layer.q.weight, weight.flatten(0, 2))))
        full.qkv.bias.copy_(torch.cat((layer.q.bias, bias.flatten())))
        full.project.load_state_dict(layer.project.state_dict())
    expected, _ = torch_attention(full, channels, heads)(x, x, x)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("heads", "size"), [(1, 1), (4, 3), (5, 4)])
def test_gated_attention_is_the_mixture_of_the_paper(heads, size):
    channels = heads * 4
    layer = lively(GatedPositionalAttention(channels, heads, size))
    x = torch.randn(2, size * size, channels)
    q, k = (x @ layer.qk.weight.T).split(channels, dim=2)
    v = x @ layer.v.weight.T
    places = torch.tensor([[i, j] for i in range(size) for j in range(size)], dtype=torch.float)
    dy, dx = (places[None] - places[:, None]).unbind(2)
    relative = torch.stack((dx, dy, dx**2 + dy**2), 2)
    positional = relative @ layer.position.weight.T + layer.position.bias
    heard = []
    for h in range(heads):
        part = slice(h * 4, h * 4 + 4)
        content = (q[..., part] @ k[..., part].transpose(1, 2) / 2).softmax(2)
        gate = layer.gate[h].sigmoid()
        mixed = (1 - gate) * content + gate * positional[..., h].softmax(1)
        mixed = mixed / mixed.sum(2, keepdim=True)
        heard.append(mixed @ v[..., part])
    expected = torch.cat(heard, 2) @ layer.project.weight.T + layer.project.bias
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_gated_attention_starts_as_a_convolution():
    layer = GatedPositionalAttention(36, 9, 5)
    assert torch.equal(layer.v.weight, torch.eye(36))
    assert torch.equal(layer.gate, torch.ones(9))
    v = torch.zeros(1, 9, 25, 1)
    v[:, :, 12] = 1
    heard = layer.by_position(v)[0, :, :, 0].unflatten(1, (5, 5))
    # The middle pixel is heard most from where a head looks: nine places around it, one a head.
    seen = {divmod(int(heard[h].flatten().argmax()), 5) for h in range(9)}
    assert seen == {(i, j) for i in (1, 2, 3) for j in (1, 2, 3)}


@pytest.mark.parametrize(
    ("node", "spec", "message"),
    [
        (primitive("attention", 3), token_spec(4, 8), "heads must divide the features"),
        (primitive("attention", 2), image(8, 4, 4), "attention needs tokens"),
        (primitive("window_attention", 2, 7), token_spec(4, 8), "window_attention needs an image"),
        (primitive("window_attention", 3, 7), image(8, 4, 4), "heads must divide"),
        (
            primitive("grouped_query_attention", 4, 3),
            token_spec(4, 8),
            "groups must divide the heads",
        ),
        (primitive("gated_positional_attention", 4), token_spec(5, 8), "a square number of tokens"),
    ],
)
def test_what_is_not_served_is_refused_in_a_sentence(node, spec, message):
    with pytest.raises(ShapeError, match=f"{message}.* got "):
        flow(node, spec)
