"""Every morph of a tree is one of its space, whose network computes what the smaller one did."""

from functools import cache
from random import Random

import pytest
import torch
from grown import assert_same, lively, parameters
from strategies import drawn

from searchspace.architecture import Architecture
from searchspace.build import build, flow
from searchspace.check import check
from searchspace.grammar import Grammar
from searchspace.morph import Morph, morphs, transfer
from searchspace.read import read_grammar
from searchspace.shapes import ShapeError, TensorSpec, image
from searchspace.space import load_space
from searchspace.text import from_text

pytestmark = pytest.mark.usefixtures("one_thread")


SPACES = {
    # Space: what makes its networks small, the kinds that it allows.
    "conv_large_kernel": (
        {"width": (32, 64), "half": (16, 32), "depth": (1, 2), "kernel": (3, 7), "band": (7, 11)},
        {"kernel", "width", "depth"},
    ),
    "conv_resnet": (
        {
            **{"width": (32, 64), "mid": (16, 32), "more": (0, 2)},
            **{"even": (32, 48), "fine": (16, 32), "inner": (64, 96), "deep": (0, 2)},
        },
        {"kernel", "width", "depth"},
    ),
    "mobile": (
        {"width": (8, 24), "hidden": (8, 64), "more": (0, 2)},
        {"kernel", "width", "depth"},
    ),
    "vit": ({"heads": (1, 2), "depth": (1, 2), "mix": (64, 128)}, {"kernel", "width", "depth"}),
    "hybrid": ({"heads": (1, 2), "cross": (2, 3), "depth": (1, 2)}, {"kernel", "width", "depth"}),
    "nasbench201": ({}, {"kernel", "branch"}),
    "einspace": ({}, {"depth", "branch"}),
    # Fixed but for the places of the pools.
    "pooling": ({}, set()),
    "nasnet": ({"quarter": (4, 4), "depth": (0, 1), "drop": (0, 0)}, {"kernel"}),
}


SIZES = {"vit": 32, "hybrid": 32, "einspace": 32, "nasnet": 64}
"""Pixels in a row of their inputs; 16 for the others.

NASNet halves five times, and batch norms of a pixel or two in training would magnify rounding.
"""


@cache
def found(name: str) -> tuple[Grammar, TensorSpec, dict[str, tuple[Architecture, Morph]]]:
    """Of every kind that some trees of a space allow, one morph."""
    limits, _ = SPACES[name]
    grammar = load_space(name, classes=3, limits=limits)
    spec = image(3, SIZES.get(name, 16), SIZES.get(name, 16))
    kinds: dict[str, tuple[Architecture, Morph]] = {}
    for seed in range(40):
        if set(kinds) >= SPACES[name][1] and seed > 2:
            break
        architecture = drawn(grammar, seed)
        try:
            flow(architecture.root, spec)
        except ShapeError:
            continue
        offers = morphs(grammar, architecture, spec)
        for kind in {offer.kind for offer in offers} - set(kinds):
            chosen = [offer for offer in offers if offer.kind == kind]
            kinds[kind] = architecture, Random(seed).choice(chosen)
    return grammar, spec, kinds


@pytest.mark.parametrize("name", SPACES)
def test_every_kind_on_every_space(name):
    grammar, spec, kinds = found(name)
    assert set(kinds) == SPACES[name][1]
    for architecture, morph in kinds.values():
        check(grammar, morph.architecture.root)
        assert morph.place.startswith(grammar.start)
        assert_same(architecture, morph.architecture, spec)


def test_all_that_is_offered_for_a_tree():
    grammar = read_grammar(
        "space s : image[3, 8, 8] -> classes[2]\n"
        "domain width = 8 | 12 | 16\ndomain depth = 1 .. 2\ndomain kernel = 3 | 5\n"
        "domain ratio = 1 | 2\n"
        "net -> conv(w, 3, 1) batch_norm block ^ depth gate pointwise head with w : width\n"
        "block -> residual(depthwise(kernel) batch_norm inverted(ratio, gelu))\n"
        "gate -> identity | squeeze_excite(1) | max_pool(3)\n"
        "head -> global_pool classifier(classes)\n"
    )
    text = (
        "net:0(8)[conv(8,3,1); batch_norm; block:0[residual[depthwise(3) batch_norm "
        "inverted(1,gelu)]]; gate:0[identity]; pointwise; head:0[global_pool; classifier(2)]]"
    )
    architecture = Architecture(space="s", root=from_text(text))
    check(grammar, architecture.root)
    offers = morphs(grammar, architecture)
    assert sorted((o.kind, o.place, o.change) for o in offers) == [
        ("depth", "net/block", "1 -> 2"),
        ("depth", "net/gate", "alternative 0 -> 1"),
        ("kernel", "net/block/residual/depthwise", "kernel 3 -> 5"),
        ("width", "net", "w 8 -> 12"),
        ("width", "net", "w 8 -> 16"),
        ("width", "net/block/residual/inverted", "ratio 1 -> 2"),
    ]
    for offer in offers:
        assert_same(architecture, offer.architecture, grammar.input)


def test_copies_that_must_be_the_same_change_together():
    grammar = read_grammar(
        "space s : image[3, 8, 8] -> classes[2]\ndomain n = 2 | 3\ndomain kernel = 3 | 5\n"
        "net -> body ^^ n global_pool classifier(classes)\nbody -> residual(depthwise(kernel))\n"
    )
    architecture = drawn(grammar, 0)
    if architecture.root.children[0][0].children[0][0].children[0][0].values == (5,):
        architecture = next(a for a in (drawn(grammar, s) for s in range(50)) if "(3)" in a.text)
    for offer in morphs(grammar, architecture):
        check(grammar, offer.architecture.root)
        assert len(set(offer.architecture.root.children[0])) == 1
        assert_same(architecture, offer.architecture, grammar.input)


@pytest.mark.parametrize("name", ["conv_large_kernel", "vit", "einspace", "nasbench201"])
def test_morphs_in_a_row(name):
    """A network can grow step by step, and go on in training as the first one does."""
    grammar, spec, kinds = found(name)
    random, (architecture, _) = Random(3), next(iter(kinds.values()))
    torch.manual_seed(0)
    network = first = lively(build(architecture.root, spec))
    x = torch.randn(2, *spec.shape, dtype=torch.float64)
    sizes = [parameters(first)]
    for _ in range(3):
        offers = morphs(grammar, architecture, spec)
        if not offers:
            break
        offer = random.choice(offers)
        network = transfer(architecture, offer.architecture, spec, network)
        architecture = offer.architecture
        sizes.append(parameters(network))
        with torch.no_grad():
            torch.testing.assert_close(network(x), first(x), rtol=1e-9, atol=1e-9)
    assert sizes == sorted(set(sizes))
    assert len(sizes) > 1
    torch.testing.assert_close(network.eval()(x), first.eval()(x), rtol=1e-9, atol=1e-9)
