"""Published networks derive with exactly the published number of parameters."""

import pytest
import torch

from hwprofile.blocks import BlockTable
from searchspace.build import build
from searchspace.check import check
from searchspace.primitives.convolution import DilatedReparam
from searchspace.published import PUBLISHED, UnknownNetworkError, published
from searchspace.shapes import image
from searchspace.space import load_space
from searchspace.text import from_text

KEYS = {
    "resnet18": "61593e581e14ffff",
    "convnext_tiny": "4a4ee456316bd690",
    "vit_b16": "a3b2ec87239c1b57",
}
"""Identities of some, so that a saved tree stays the network that it was."""


def _on_meta(name: str) -> torch.nn.Module:
    spec = image(3, PUBLISHED[name].size, PUBLISHED[name].size)
    with torch.device("meta"):
        network = build(published(name).root, spec)
        assert network(torch.empty(2, *spec.shape)).shape == (2, PUBLISHED[name].classes)
    return network


@pytest.mark.parametrize("name", PUBLISHED)
def test_they_have_the_published_number_of_parameters(name):
    network = PUBLISHED[name]
    count = sum(parameter.numel() for parameter in _on_meta(name).parameters())
    assert count == network.parameters
    costs = BlockTable(image(3, network.size, network.size)).costs(published(name).root)
    assert costs.params == count


@pytest.mark.parametrize("name", PUBLISHED)
def test_they_are_trees_of_their_space_for_any_number_of_classes(name):
    grammar = load_space(PUBLISHED[name].space, classes=7)
    architecture = published(name, classes=7)
    assert architecture.space == grammar.name
    check(grammar, architecture.root)
    assert from_text(architecture.text) == architecture.root


def test_their_identity_lasts():
    assert {name: published(name).key for name in KEYS} == KEYS


def test_the_merged_unireplknet_lacks_the_branches():
    """The deployed form differs by branches, norms, layer scale; here by the branches' weights."""
    network = _on_meta("unireplknet_tiny")
    branches = sum(
        p.numel()
        for m in network.modules()
        if isinstance(m, DilatedReparam)
        for p in m.parameters()
    )
    assert branches == sum(
        width * (169 + 25 + 49 + 3 * 9 + 2 * 6) * count
        for width, count in ((160, 3), (320, 9), (640, 3))
    )


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(
        UnknownNetworkError, match=r"no published network 'resnet'; known are resnet18, "
    ):
        published("resnet")
