"""Tokens: each layer against a plain computation, pixel by pixel or token by token."""

import math

import pytest
import torch
from torch.nn import functional as F

from searchspace.build import flow
from searchspace.primitives.norm import LayerNorm
from searchspace.primitives.tokens import (
    ClassToken,
    ConvTokens,
    MixerMLP,
    PatchTokens,
    Position,
    SoftSplit,
    ToImage,
    TokenMLP,
    TokenPool,
    ToTokens,
    token_spec,
)
from searchspace.shapes import ShapeError, image, vector
from searchspace.tree import primitive


def lively(module):
    """A module whose parameters are all random, biases too."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.4)
    return module


def test_pixels_become_tokens_row_by_row_and_pixels_again():
    x = torch.randn(2, 5, 3, 3)
    y = ToTokens()(x)
    for i in range(3):
        for j in range(3):
            assert torch.equal(y[:, i * 3 + j], x[:, :, i, j])
    assert torch.equal(ToImage(3)(y), x)


def test_patches_are_projected_one_by_one():
    layer, x = lively(PatchTokens(3, 7, 4)), torch.randn(2, 3, 8, 12)
    y = layer(x)
    assert y.shape == (2, 6, 7)
    for i in range(2):
        for j in range(3):
            patch = x[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].flatten(1)
            expected = patch @ layer.project.weight.flatten(1).T + layer.project.bias
            torch.testing.assert_close(y[:, i * 3 + j], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (7, 2)])
def test_convolved_tokens_are_the_largest_of_what_is_above_zero(kernel, stride):
    layer, x = lively(ConvTokens(3, 6, kernel, stride)), torch.randn(2, 3, 9, 8)
    assert layer.conv.bias is None
    maps = F.conv2d(x, layer.conv.weight, stride=stride, padding=kernel // 2).clamp(min=0)
    padded = F.pad(maps, (1, 1, 1, 1))
    height, width = (-(-n // 2) for n in maps.shape[2:])
    y = layer(x)
    assert y.shape == (2, height * width, 6)
    for i in range(height):
        for j in range(width):
            window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            torch.testing.assert_close(y[:, i * width + j], window.amax((2, 3)))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "count"), [(7, 4, 2, 4 * 3), (3, 2, 1, 8 * 6), (2, 2, 0, 48)]
)
def test_soft_split_normalises_and_projects_each_window(kernel, stride, padding, count):
    layer, x = lively(SoftSplit(2, 5, kernel, stride)), torch.randn(2, 2, 16, 12)
    y = layer(x)
    assert (layer.padding, y.shape) == (padding, (2, count, 5))
    padded, width = F.pad(x, (padding,) * 4), 12 // stride
    for place in range(count):
        top, left = stride * (place // width), stride * (place % width)
        window = padded[:, :, top : top + kernel, left : left + kernel].flatten(1)
        window = (window - window.mean(1, keepdim=True)) / (
            window.var(1, keepdim=True, correction=0) + 1e-5
        ).sqrt()
        window = window * layer.norm.weight + layer.norm.bias
        expected = window @ layer.project.weight.T + layer.project.bias
        torch.testing.assert_close(y[:, place], expected, rtol=1e-4, atol=1e-4)


def test_the_split_of_the_paper_makes_196_tokens():
    spec = image(3, 224, 224)
    for kernel, stride, side in ((7, 4, 56), (3, 2, 28), (3, 2, 14)):
        spec = flow(primitive("t2t_tokens", 64, kernel, stride), spec)
        assert spec == token_spec(side**2, 64)
        spec = flow(primitive("to_image"), spec)


def test_class_token_comes_first_and_positions_are_added():
    x = torch.randn(2, 4, 3)
    first, place = lively(ClassToken(3)), lively(Position(3, 4))
    y = first(x)
    assert torch.equal(y[:, 1:], x)
    assert torch.equal(y[0, 0], first.token.flatten())
    assert torch.equal(y[1, 0], y[0, 0])
    for token in range(4):
        assert torch.equal(place(x)[:, token], x[:, token] + place.embedding[0, token])


def test_pools_of_tokens():
    x = torch.randn(2, 4, 3)
    torch.testing.assert_close(TokenPool(3, "mean")(x), sum(x[:, i] for i in range(4)) / 4)
    assert torch.equal(TokenPool(3, "first")(x), x[:, 0])
    assert not list(TokenPool(3, "mean").parameters())
    pool = lively(TokenPool(3, "sequence"))
    weight, bias = pool.score.weight[0].detach(), float(pool.score.bias.detach())
    for b in range(2):
        scores = [math.exp(float(x[b, i] @ weight) + bias) for i in range(4)]
        expected = sum(score / sum(scores) * x[b, i] for i, score in enumerate(scores))
        torch.testing.assert_close(pool(x)[b], expected)


def test_token_mlp_serves_each_token_alone():
    layer, x = lively(TokenMLP(3, 2, "gelu")), torch.randn(2, 4, 3)
    for i in range(4):
        hidden = F.gelu(x[:, i] @ layer.expand.weight.T + layer.expand.bias)
        expected = hidden @ layer.project.weight.T + layer.project.bias
        torch.testing.assert_close(layer(x)[:, i], expected)


def test_mixer_mlp_serves_each_feature_alone():
    layer, x = lively(MixerMLP(4, 7, "relu")), torch.randn(2, 4, 3)
    assert layer.expand.out_features == 7
    for d in range(3):
        hidden = (x[:, :, d] @ layer.expand.weight.T + layer.expand.bias).clamp(min=0)
        expected = hidden @ layer.project.weight.T + layer.project.bias
        torch.testing.assert_close(layer(x)[:, :, d], expected)


def test_layer_norm_of_tokens_is_that_of_each_vector():
    layer, x = lively(LayerNorm(6, eps=1e-6)), torch.randn(2, 4, 6)
    for i in range(4):
        torch.testing.assert_close(layer(x)[:, i], layer(x[:, i]))


@pytest.mark.parametrize(
    ("node", "spec", "message"),
    [
        (primitive("to_image"), token_spec(17, 8), "a square number of tokens"),
        (primitive("to_image"), image(8, 4, 4), "to_image needs tokens"),
        (primitive("to_tokens"), token_spec(16, 8), "to_tokens needs an image"),
        (primitive("patch_tokens", 8, 16), image(3, 224, 200), "sizes that 16 divides"),
        (primitive("conv_tokens", 8, 3, 1), vector(3), "conv_tokens needs an image"),
        (primitive("t2t_tokens", 8, 3, 4), image(3, 8, 8), "stride 4 is above kernel 3"),
        (primitive("t2t_tokens", 8, 7, 4), image(3, 2, 8), "holds a window"),
        (primitive("class_token"), vector(8), "class_token needs tokens"),
        (primitive("token_pool", "mean"), image(8, 4, 4), "token_pool needs tokens"),
    ],
)
def test_what_is_not_served_is_refused_in_a_sentence(node, spec, message):
    with pytest.raises(ShapeError, match=f"{message}.*; got "):
        flow(node, spec)
