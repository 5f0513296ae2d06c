"""einspace: its primitives against torch's own layers, and the networks that derive in it."""

import re
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.einspace_trees import Modules, mixer, resnet18, vit
from nas.export.source import module_source
from searchspace.architecture import Architecture
from searchspace.build import build, calls, flow, module_of
from searchspace.check import check
from searchspace.primitives.einspace import LearnedPosition
from searchspace.primitives.fork import Fork, bounded
from searchspace.shapes import ShapeError, TensorSpec, image, vector
from searchspace.space import load_space
from searchspace.text import from_text, to_text
from searchspace.tree import primitive, walk

TOKENS = TensorSpec("tokens", (12, 16))
SQUARE = TensorSpec("tokens", (16, 8))


@pytest.fixture(scope="module")
def grammar():
    return load_space("einspace")


@pytest.fixture(scope="module")
def modules(grammar):
    return Modules(grammar)


def made(node, spec):
    """The module of a tree, and a batch for it."""
    torch.manual_seed(0)
    plan, _ = calls((node,), spec)
    layers = [module_of(call) for call in plan]
    return nn.Sequential(*layers), torch.randn(2, *spec.shape)


def weights(network):
    """Weight and bias of all linear layers in the order that they are built."""
    return [(m.weight, m.bias) for m in network.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize(
    ("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (4, 4), (8, 8), (16, 16)]
)
@pytest.mark.parametrize("spec", [image(5, 16, 16), image(3, 17, 24)])
def test_windows_of_a_linear_layer_are_a_convolution(modules, kernel, stride, spec):
    layer, x = made(modules.conv(16, kernel, stride), spec)
    ((weight, bias),) = weights(layer)
    kernels = weight.unflatten(1, (spec.channels, kernel, kernel))
    padding = kernel // 2 if kernel % 2 else 0
    expected = F.conv2d(x, kernels, bias, stride=stride, padding=padding)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_routing_a_linear_layer_is_a_convolution_where_images_are_square(modules):
    unfold, linear = primitive("unfold", 3, 2), modules.layer("last_linear", 32)
    spec = image(5, 9, 9)
    layer, x = made(modules.route(unfold, linear, primitive("to_image")), spec)
    ((weight, bias),) = weights(layer)
    expected = F.conv2d(x, weight.unflatten(1, (5, 3, 3)), bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ShapeError, match="square number of tokens"):
        flow(modules.route(unfold, linear, primitive("to_image")), image(5, 9, 8))


def test_forks_joined_by_products_are_attention(modules):
    layer, x = made(modules.attention(32), TOKENS)
    q, k, v = (F.linear(x, weight, bias) for weight, bias in weights(layer))
    expected = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(layer(x), expected)


def test_copies_with_weights_of_their_own_are_heads(modules):
    layer, x = made(modules.copies(4, "clone", "concat2", modules.attention(16)), TOKENS)
    q, k, v = (
        torch.stack([F.linear(x, *pair) for pair in weights(layer)[i::3]], 1) for i in range(3)
    )
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x), expected)


def test_groups_of_channels_with_a_convolution_each_are_a_grouped_convolution(modules):
    layer, x = made(modules.copies(4, "group1", "concat1", modules.conv(16, 3, 1)), image(8, 6, 7))
    kernels = torch.cat([weight.unflatten(1, (2, 3, 3)) for weight, _ in weights(layer)])
    bias = torch.cat([bias for _, bias in weights(layer)])
    expected = F.conv2d(x, kernels, bias, padding=1, groups=4)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_transposed_layers_mix_tokens(modules):
    layer, x = made(modules.residual(modules.transposed(*modules.mlp(32, 16))), SQUARE)
    (w1, b1), (w2, b2) = weights(layer)
    hidden = F.leaky_relu(torch.einsum("bnd,hn->bdh", x, w1) + b1)
    expected = x + torch.einsum("bdh,nh->bnd", hidden, w2) + b2[:, None]
    torch.testing.assert_close(layer(x), expected)


class _Block(nn.Module):
    """A block of ResNet-18 with biases and leaky ReLU."""

    def __init__(self, width, out, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, out, 3, stride, 1),
            nn.BatchNorm2d(out),
            nn.LeakyReLU(),
            nn.Conv2d(out, out, 3, 1, 1),
            nn.BatchNorm2d(out),
        )
        self.short = nn.Sequential()
        if stride == 2:
            self.short = nn.Sequential(nn.Conv2d(width, out, 1, 2), nn.BatchNorm2d(out))

    def forward(self, x):
        return F.leaky_relu(self.body(x) + self.short(x))


def test_resnet18_derives_and_computes_the_same(grammar):
    root = resnet18(grammar)
    check(grammar, root)
    assert from_text(to_text(root)) == root
    torch.manual_seed(0)
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    ours = build(root, grammar.input).eval()
    theirs = nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(),
        *(_Block(a, b, 1 + (a != b)) for a, b in pairwise(widths)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, 10),
    ).eval()
    # 11,173,962 is the usual count for 10 classes; convolutions here have biases.
    biases = 64 + sum(2 * b for b in widths[1:]) + 128 + 256 + 512
    assert sum(p.numel() for p in ours.parameters()) == 11_173_962 + biases
    with torch.no_grad():
        for target, source in zip(theirs.parameters(), ours.parameters(), strict=True):
            target.copy_(source.view(target.shape))
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("draw", [vit, mixer])
def test_transformers_and_mixers_derive_and_learn(grammar, draw):
    root = draw(grammar, depth=2)
    check(grammar, root)
    torch.manual_seed(0)
    network = build(root, grammar.input)
    logits = network(torch.randn(2, 3, 32, 32))
    F.cross_entropy(logits, torch.tensor([1, 2])).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in network.parameters())


def test_the_parameters_of_a_vit_are_those_of_its_layers(grammar):
    network = build(vit(grammar, depth=3), grammar.input)
    block = 4 * (256 * 256 + 256) + 2 * 512 + 2 * 256 * 1024 + 1024 + 256
    around = 48 * 256 + 256 + 64 * 256 + 512 + 2570
    assert sum(p.numel() for p in network.parameters()) == 3 * block + around


def test_an_exported_network_needs_torch_alone_and_computes_the_same(grammar):
    root = vit(grammar, depth=1)
    source = module_source(Architecture(space=grammar.name, root=root), grammar.input)
    scope = {"__name__": "exported"}
    exec(compile(source, "model.py", "exec"), scope)
    assert "searchspace" not in source
    network, written = build(root, grammar.input).eval(), scope["Network"]().eval()
    written.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(written(x), network(x))


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        (
            "fork(group1, add)[identity; identity]",
            image(3, 4, 4),
            "multiple of 2 along dimension 1",
        ),
        ("fork(group3, add)[identity; identity]", TOKENS, "group3 needs a tensor of 3 dimensions"),
        ("fork(clone, concat3)[identity; identity]", TOKENS, "concat3 needs a tensor of 3"),
        ("fork(clone, dot)[identity; identity]", image(3, 4, 5), "as wide as the second is high"),
        ("fork(clone, dot)[identity; identity]", vector(3), "two images, or tokens twice"),
        ("fork(clone, add)[identity; to_tokens]", image(3, 4, 5), "bodies that give one shape"),
        ("fork(clone, concat1)[identity; to_tokens]", image(3, 4, 5), "differ there alone"),
        (
            "fork_copies(8, group2, add)[identity]",
            image(3, 4, 4),
            "multiple of 8 along dimension 2",
        ),
        ("windows(3, 1)[permute(dn)]", image(3, 4, 4), "must give 16 tokens"),
        ("windows(3, 1)[identity]", TOKENS, "windows need an image"),
        ("last_linear(2048)", vector(4096), "2359296 weights at most"),
    ],
)
def test_faults_say_what_must_hold_and_what_came(text, spec, message):
    with pytest.raises(ShapeError, match=re.escape(message)) as fault:
        flow(from_text(text), spec)
    assert str(spec) in str(fault.value)


def test_products_of_products_stay_finite_and_ordinary_values_as_they_are():
    x = torch.randn(3, 8, 8) * torch.tensor([1.0, 30.0, 1e15])[:, None, None]
    x.requires_grad_()
    y = x
    for _ in range(40):
        y = Fork(nn.Identity(), nn.Identity(), split="clone", join="dot")(y)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert y.abs().amax() <= 1.001e4
    ordinary = torch.randn(2, 5, 4)
    assert torch.equal(bounded(ordinary), ordinary)
    torch.testing.assert_close(
        bounded(ordinary * 1e20)[0] / 1e4, ordinary[0] / ordinary[0].abs().max()
    )


def test_positions_differ_in_every_element():
    torch.manual_seed(0)
    assert LearnedPosition(3, 4, 5).embedding.unique().numel() == 60
    assert LearnedPosition(6, 4)(torch.zeros(2, 6, 4)).shape == (2, 6, 4)


def test_softmax_and_linear_run_along_the_last_dimension():
    layer, x = made(primitive("last_softmax"), image(3, 4, 5))
    torch.testing.assert_close(layer(x).sum(3), torch.ones(2, 3, 4))
    layer, x = made(primitive("last_linear", 7), image(3, 4, 5))
    ((weight, bias),) = weights(layer)
    torch.testing.assert_close(layer(x), x @ weight.T + bias)


def test_the_mean_number_of_modules_that_a_module_makes_is_that_of_the_paper(grammar):
    rule = grammar.rules["module"]

    def built(node_items, times=1):
        for item in node_items:
            copies = item.scalars[0].value if item.symbol == "fork_copies" else 1
            yield from [times] if item.symbol == "module" else []
            yield from (n for group in item.groups for n in built(group, times * copies))

    total = sum(a.weight for a in rule.alternatives)
    rate = sum(a.weight * sum(built(a.items)) for a in rule.alternatives) / total
    assert rate == pytest.approx(0.98, abs=1e-3)


def test_trees_hold_no_more_than_the_space_says(grammar):
    for draw in (resnet18, vit, mixer):
        assert sum(1 for _ in walk(draw(grammar))) <= 500
