"""The space of vision transformers: every draw builds and runs."""

from random import Random

import pytest
import torch

from hwprofile.blocks import BlockTable
from nas.export import module_source
from searchspace.architecture import Architecture
from searchspace.build import build, flow
from searchspace.sample import sample
from searchspace.shapes import image, vector
from searchspace.space import load_space, space_text
from searchspace.tree import walk

SMALL = {"heads": (1, 2), "depth": (1, 2), "mix": (64, 64), "patch": (8, 8), "cut": (4, 4)}


def test_the_file_stays_short():
    assert len(space_text("vit").splitlines()) < 150


@pytest.mark.parametrize("seed", range(12))
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
