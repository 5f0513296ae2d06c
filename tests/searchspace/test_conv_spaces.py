"""The convolutional spaces: every draw builds and runs, at full size and on small images."""

from functools import cache
from random import Random

import pytest
import torch

from nas.export import module_source
from searchspace.build import build, flow
from searchspace.sample import sample
from searchspace.shapes import image, vector
from searchspace.space import load_space, space_text
from searchspace.tree import walk

SMALL = {
    "conv_large_kernel": {"width": (32, 48), "depth": (1, 1), "kernel": (3, 7), "context": (5, 7)},
    "conv_resnet": {"width": (32, 64), "mid": (16, 32), "more": (0, 1)},
    "mobile": {"width": (8, 24), "more": (0, 1), "top": (640, 640)},
}
spaces = pytest.mark.parametrize("name", SMALL)


@cache
def small(name):
    return load_space(name, classes=5, limits=SMALL[name])


@spaces
def test_the_files_stay_short(name):
    assert len(space_text(name).splitlines()) < 150


@spaces
def test_draws_fit_full_and_small_images(name):
    grammar = load_space(name)
    for seed in range(15):
        root = sample(grammar, Random(seed)).root
        for size in (224, 32):
            assert flow(root, image(3, size, size)) == vector(1000), (seed, size)


@spaces
@pytest.mark.parametrize("seed", range(2))
def test_draws_run_at_full_size(name, seed):
    grammar = load_space(name)
    with torch.device("meta"):
        network = build(sample(grammar, Random(seed)).root, grammar.input)
        assert network(torch.empty(2, *grammar.input.shape)).shape == (2, 1000)


@spaces
@pytest.mark.parametrize("seed", range(3))
def test_small_draws_run_forward_and_backward(name, seed):
    spec = image(3, 32, 32)
    torch.manual_seed(seed)
    network = build(sample(small(name), Random(seed)).root, spec)
    x = torch.randn(2, *spec.shape, requires_grad=True)
    y = network(x)
    y.logsumexp(1).sum().backward()
    assert y.shape == (2, 5)
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert x.grad.any(), "the output depends on the input"
    for part, parameter in network.named_parameters():
        assert parameter.grad is not None, part
        assert parameter.grad.isfinite().all(), part


@spaces
def test_exported_source_computes_the_same(name):
    spec = image(3, 32, 32)
    for seed in range(2):
        architecture = sample(small(name), Random(seed))
        names = {"__name__": "model"}
        exec(compile(module_source(architecture, spec), "model.py", "exec"), names)
        network, exported = build(architecture.root, spec).eval(), names["Network"]().eval()
        exported.load_state_dict(network.state_dict())
        x = torch.randn(2, *spec.shape)
        with torch.no_grad():
            torch.testing.assert_close(exported(x), network(x))


@spaces
def test_every_primitive_of_a_space_is_drawn(name):
    grammar = load_space(name)
    waiting = [i for rule in grammar.rules.values() for a in rule.alternatives for i in a.items]
    wanted = set()
    while waiting:
        item = waiting.pop()
        waiting.extend(inner for group in item.groups for inner in group)
        wanted |= {item.symbol} if item.is_primitive else set()
    seen, seed = set(), 0
    while seen < wanted and seed < 150:
        nodes = walk(sample(grammar, Random(seed)).root)
        seen |= {node.symbol for _, node in nodes if node.is_primitive}
        seed += 1
    assert seen == wanted
