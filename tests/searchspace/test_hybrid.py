"""The space of hybrids: every draw builds and runs."""

from random import Random

import pytest
import torch

from hwprofile.blocks import BlockTable
from searchspace.build import build
from searchspace.sample import sample
from searchspace.shapes import image
from searchspace.space import load_space, space_text
from searchspace.tree import walk

SMALL = {
    "heads": (1, 2),
    "cross": (2, 2),
    "depth": (1, 1),
    "rounds": (1, 1),
    "few": (1, 1),
    "many": (1, 1),
}


@pytest.fixture(scope="module")
def grammar():
    return load_space("hybrid")


@pytest.fixture(scope="module")
def small():
    return load_space("hybrid", classes=5, limits=SMALL)


def test_the_file_stays_short():
    assert len(space_text("hybrid").splitlines()) < 150


@pytest.mark.parametrize("seed", range(5))
def test_draws_at_full_size_build_and_are_priced(grammar, seed):
    root = sample(grammar, Random(seed)).root
    costs = BlockTable(grammar.input).costs(root)
    with torch.device("meta"):
        network = build(root, grammar.input)
        assert network(torch.empty(1, 3, 224, 224)).shape == (1, 1000)
    assert sum(p.numel() for p in network.parameters()) == costs.params


@pytest.mark.parametrize("seed", range(10))
def test_small_draws_run_forward_and_backward(small, seed):
    root = sample(small, Random(seed)).root
    torch.manual_seed(seed)
    network = build(root, image(3, 64, 64))
    x = torch.randn(2, 3, 64, 64, requires_grad=True)
    y = network(x)
    y.logsumexp(1).sum().backward()
    assert y.shape == (2, 5)
    assert y.isfinite().all()
    assert x.grad.any()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_attention_comes_after_convolution(small):
    """In the networks of stages, only the last two hold attention over all pixels."""
    for seed in range(15):
        root = sample(small, Random(seed)).root
        if root.alternative:
            continue
        for index in (1, 3):
            names = {n.symbol for _, n in walk(root.children[index][0])}
            assert "attended" not in names
