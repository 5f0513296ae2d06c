"""The space of places to downsample: as many as published, all with the same parameters."""

from itertools import combinations
from random import Random

import pytest
import torch

from hwprofile.blocks import BlockTable
from searchspace import draws
from searchspace.build import build, flow
from searchspace.sample import sample
from searchspace.shapes import image, vector
from searchspace.space import load_space, space_text
from searchspace.tree import units

FAMILIES = ("resnet20", "resnet18", "resnet50")


@pytest.fixture(scope="module")
def grammar():
    return load_space("pooling")


@pytest.fixture(scope="module")
def drawn(grammar):
    """Distinct trees of each family."""
    found = {index: {} for index in range(3)}
    for seed in range(900):
        root = sample(grammar, Random(seed)).root
        found[root.alternative][root.values] = root
    return found


def test_there_are_as_many_as_published(grammar, drawn):
    counts = [draws.count(a, ()) for a in grammar.rules["network"].alternatives]
    assert counts == [36, 56, 455]
    assert set(drawn[0]) == set(combinations(range(1, 10), 2))
    assert set(drawn[1]) == set(combinations(range(1, 9), 3))
    assert set(drawn[2]) <= set(combinations(range(2, 17), 3))
    assert len(space_text("pooling").splitlines()) < 150


def test_downsampling_happens_where_it_was_drawn(grammar, drawn):
    for family in drawn.values():
        for places, root in family.items():
            spec, halved = grammar.input, []
            blocks = [node for _, node in units(root)]
            for number, node in enumerate(blocks[:-1]):
                out = flow(node, spec)
                if out.height < spec.height:
                    assert out.height == -(-spec.height // 2)
                    halved.append(number)
                spec = out
            assert tuple(halved) == places
            assert flow(blocks[-1], spec) == vector(10)


@pytest.mark.parametrize(
    ("family", "count"),
    [
        # ResNet-20 with shortcuts that pad, 269,722, and the projections that stand in for them.
        (0, 269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)),
        # The usual ResNet-18 for CIFAR-10.
        (1, 11_173_962),
        # The usual ResNet-50 for CIFAR-10.
        (2, 23_520_842),
    ],
)
def test_all_of_a_family_have_the_same_parameters(grammar, drawn, family, count):
    table = BlockTable(grammar.input)
    roots = list(drawn[family].values())[:20]
    assert {table.costs(root).params for root in roots} == {count}


def test_the_default_takes_fewer_operations_than_late_pools(grammar, drawn):
    table = BlockTable(grammar.input)
    default, late = drawn[0][4, 7], drawn[0][8, 9]
    assert table.costs(default).macs < table.costs(late).macs


@pytest.mark.parametrize("seed", range(12))
def test_draws_run_forward_and_backward(grammar, seed):
    root = sample(grammar, Random(seed)).root
    torch.manual_seed(seed)
    network = build(root, image(3, 16, 16))
    y = network(torch.randn(2, 3, 16, 16))
    y.logsumexp(1).sum().backward()
    assert y.shape == (2, 10)
    assert y.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
