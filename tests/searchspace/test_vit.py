"""The space of vision transformers: every draw builds and runs, published networks derive."""

from random import Random

import pytest
import torch

from hwprofile.blocks import BlockTable
from nas.export import module_source
from searchspace.architecture import Architecture
from searchspace.build import build, flow
from searchspace.check import check
from searchspace.sample import sample
from searchspace.shapes import image, vector
from searchspace.space import load_space, space_text
from searchspace.text import from_text
from searchspace.tree import walk

VIT_B16 = (
    "network:0(12)[columnar:1(12)[patches:0@float(768)[patch_tokens(768,16)]; "
    "classed:0@float[class_token]; placed:0@float[position]; "
    "stage:1(12)[block:0@float(12)[residual[layer_norm attend:0(12)[attention(12)]]; "
    "residual[layer_norm token_mlp(4,gelu)]]*12]; "
    "first:0@float[layer_norm; token_pool(first); classifier(1000)]]]"
)
MIXER_B16 = (
    "network:0(12)[columnar:0(12)[embed:1(12)[patches:0@float(768)[patch_tokens(768,16)]]; "
    "stage:1(12)[block:2@float(12)[residual[layer_norm mixer_mlp(384,gelu)]; "
    "residual[layer_norm token_mlp(4,gelu)]]*12]; "
    "pooled:0@float[layer_norm; token_pool(mean); classifier(1000)]]]"
)
CCT_7_3X1 = (
    "network:0(4)[columnar:0(4)[embed:2(4)[convolved:0@float(256)[conv_tokens(256,3,1)]; "
    "placed:0@float[position]]; "
    "stage:1(4)[block:1@float(4)[residual[layer_norm attend:2(4)[unbiased_attention(4)]]; "
    "layer_norm; residual[token_mlp(2,gelu)]]*7]; "
    "pooled:0@float[layer_norm; token_pool(sequence); classifier(10)]]]"
)
SMALL = {"heads": (1, 2), "depth": (1, 2), "mix": (64, 64), "patch": (8, 8)}


@pytest.mark.parametrize(
    ("text", "size", "classes", "count"),
    [
        (VIT_B16, 224, 1000, 86_567_656),
        (MIXER_B16, 224, 1000, 59_880_472),
        (CCT_7_3X1, 32, 10, 3_760_139),
    ],
)
def test_published_networks_derive_with_the_published_parameters(text, size, classes, count):
    root, spec = from_text(text), image(3, size, size)
    check(load_space("vit", classes=classes), root)
    with torch.device("meta"):
        network = build(root, spec)
        assert network(torch.empty(2, *spec.shape)).shape == (2, classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert BlockTable(spec).costs(root).params == count


def test_the_file_stays_short():
    assert len(space_text("vit").splitlines()) < 150


@pytest.mark.parametrize("seed", range(25))
def test_draws_at_full_size_build_and_are_priced(seed):
    grammar = load_space("vit")
    root = sample(grammar, Random(seed)).root
    assert flow(root, grammar.input) == vector(1000)
    costs = BlockTable(grammar.input).costs(root)
    with torch.device("meta"):
        assert sum(p.numel() for p in build(root, grammar.input).parameters()) == costs.params


@pytest.mark.parametrize("seed", range(12))
def test_small_draws_run_forward_and_backward(seed):
    spec = image(3, 32, 32)
    grammar = load_space("vit", classes=5, limits=SMALL)
    torch.manual_seed(seed)
    network = build(sample(grammar, Random(seed)).root, spec)
    x = torch.randn(2, *spec.shape, requires_grad=True)
    y = network(x)
    y.logsumexp(1).sum().backward()
    assert y.shape == (2, 5)
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert x.grad.any(), "the output depends on the input"
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_all_alternatives_are_drawn_and_their_source_runs():
    """Exported files compute what the built networks do, from the same weights."""
    spec = image(3, 32, 32)
    grammar = load_space("vit", classes=5, limits=SMALL)
    seen, wanted = set(), set(_primitives(grammar))
    for seed in range(200):
        architecture = sample(grammar, Random(seed))
        new = {n.symbol for _, n in walk(architecture.root) if n.is_primitive} - seen
        if not new:
            continue
        seen |= new
        _runs_from_source(architecture, spec)
    assert seen == wanted


def _primitives(grammar):
    waiting = [i for rule in grammar.rules.values() for a in rule.alternatives for i in a.items]
    while waiting:
        item = waiting.pop()
        waiting.extend(inner for group in item.groups for inner in group)
        if item.is_primitive:
            yield item.symbol


def _runs_from_source(architecture: Architecture, spec):
    names = {"__name__": "model"}
    exec(compile(module_source(architecture, spec), "model.py", "exec"), names)
    network, exported = build(architecture.root, spec).eval(), names["Network"]().eval()
    exported.load_state_dict(network.state_dict())
    x = torch.randn(2, *spec.shape)
    with torch.no_grad():
        torch.testing.assert_close(exported(x), network(x))
