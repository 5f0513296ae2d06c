"""The space of hybrids: published networks derive, every draw builds and runs."""

from random import Random

import pytest
import torch

from hwprofile.blocks import BlockTable
from searchspace.build import build, flow
from searchspace.picks import derive, pick
from searchspace.sample import sample
from searchspace.shapes import image, vector
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


def glnet(layout, widths, depths, ratio):
    """GLNet in Swin's layout (0), or the deep one with convolutions for position (1)."""
    if layout == 0:
        mixed, attended = pick(0, 8, 5, ratio), pick(0, ratio)
        third = pick(0, [mixed] * depths[2])
    else:
        mixed, attended = pick(1, 8, 5, r=ratio), pick(1, r=ratio)
        third = pick(1, [pick(0, mixed, attended)] * (depths[2] // 2))
    down, last = pick(layout), pick(2, [attended] * depths[3])
    first, second = (pick(1, [mixed] * depth) for depth in depths[:2])
    a, b, c, d = widths
    stages = (pick(layout), first, down, second, down, third, down, last)
    return pick(0, *stages, pick(0), a=a, b=b, c=c, d=d)


def crossvit(heads, depth, ratio):
    block = pick(0, ratio)
    return pick(1, [pick(0, [block], [block] * depth)] * 3, h=heads)


@pytest.mark.parametrize(
    ("choices", "count"),
    [
        # As counted from the authors' code of both papers: GLNet-STL, GLNet-4G, GLNet-9G.
        (glnet(0, (3, 6, 12, 24), (2, 2, 6, 2), 4), 30_296_786),
        (glnet(1, (2, 4, 8, 16), (4, 4, 18, 4), 3), 27_001_593),
        (glnet(1, (3, 6, 12, 24), (4, 4, 18, 4), 3), 60_010_617),
        # CrossViT-Ti, S, B, 9, 15 and 18.
        (crossvit(3, 4, 4), 7_014_800),
        (crossvit(6, 4, 4), 26_856_272),
        (crossvit(12, 4, 4), 105_025_232),
        (crossvit(4, 3, 3), 8_553_296),
        (crossvit(6, 5, 3), 27_528_464),
        (crossvit(7, 6, 3), 43_271_408),
    ],
)
def test_published_networks_derive_with_the_published_parameters(grammar, choices, count):
    root = derive(grammar, choices).root
    assert flow(root, grammar.input) == vector(1000)
    assert BlockTable(grammar.input).costs(root).params == count


def test_the_file_stays_short():
    assert len(space_text("hybrid").splitlines()) < 150


@pytest.mark.parametrize("seed", range(10))
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
