"""The scale that comes nearest to what is wanted, and not over."""

import pytest

from hwprofile.targets import get_target
from nas.scaling.programme import Programme, ScaleError, Wanted
from nas.scaling.rules import TINY, fast, tiny
from searchspace.check import check
from searchspace.grammar import Grammar
from searchspace.published import PUBLISHED, published
from searchspace.shapes import image
from searchspace.space import load_space
from searchspace.tree import walk


def space_of(name) -> Grammar:
    network = PUBLISHED[name]
    spec = image(3, network.size, network.size)
    return load_space(network.space, spec=spec, classes=network.classes)


def programme(name, rule=None, **settings):
    return Programme(space_of(name), published(name).root, rule or fast(), **settings)


SIZES = (106, 152, 184, 188, 192)
"""Of TinyNet-E to A, in the authors' code."""
NETWORKS = ("resnet18", "convnext_tiny", "mobilenet_v2", "efficientnet_b0", "vit_b16", "glnet_stl")


@pytest.mark.parametrize("name", NETWORKS)
def test_scale_one_is_the_network_itself(name):
    made, before = programme(name).at(1.0), programme(name).before()
    assert (made.root, made.size, made.macs) == (before.root, before.size, before.macs)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_answer_fits_the_next_step_does_not_and_both_are_of_the_space(name, factor):
    scaling = programme(name)
    wanted = Wanted(macs=int(scaling.before().macs * factor))
    answer = scaling.solve(wanted)
    assert answer.after.macs <= wanted.macs < answer.beyond.macs
    assert answer.beyond.scale == pytest.approx(answer.after.scale, rel=1e-5)
    assert answer.after.macs > 0.85 * wanted.macs
    network = PUBLISHED[name]
    for point in (answer.after, answer.beyond):
        spec = image(3, point.size, point.size)
        check(load_space(network.space, spec=spec, classes=network.classes), point.root)


def test_resnet18_of_twice_the_operations_takes_a_scale_of_about_two():
    scaling = programme("resnet18")
    answer = scaling.solve(Wanted(macs=2 * scaling.before().macs))
    assert 1.7 < answer.after.scale < 2.3
    assert 1.95 < answer.after.macs / answer.before.macs <= 2


def test_the_tiny_formula_makes_tinynet_a_of_efficientnet_b0():
    resolution, depth, width = TINY[-1]
    made = programme("efficientnet_b0", tiny()).at(depth * width**2 * resolution**2)
    assert (made.size, made.params) == (192, PUBLISHED["tinynet_a"].parameters)
    assert 330e6 < made.macs < 345e6  # 339 M in the paper


@pytest.mark.parametrize(("row", "size"), list(zip(TINY, SIZES, strict=True)))
def test_sizes_and_depths_of_all_tinynets(row, size):
    resolution, depth, width = row
    made = programme("efficientnet_b0", tiny()).at(depth * width**2 * resolution**2)
    layers = [len(n.flat()) for _, n in walk(made.root) if n.symbol == "stage"]
    assert made.size == size
    # The authors' code rounds all layers of a stage, and keeps one.
    assert layers == [max(1, round(n * depth)) for n in (1, 2, 2, 3, 3, 4, 1)]


def test_all_that_is_wanted_holds_together():
    scaling = programme("convnext_tiny", target=get_target("a100"))
    before = scaling.before()
    wanted = Wanted(
        macs=2 * before.macs, params=int(1.2 * before.params), budget_ms=before.latency.high * 3
    )
    after = scaling.solve(wanted).after
    assert 0.9 < after.part(wanted) <= 1
    assert after.params <= wanted.params
    assert after.latency.high <= wanted.budget_ms


def test_the_budget_holds_at_the_upper_end_of_the_prediction():
    scaling = programme("resnet18", target=get_target("a100"), batch=8)
    wanted = Wanted(budget_ms=2 * scaling.before().latency.high)
    answer = scaling.solve(wanted)
    assert answer.after.latency.high <= wanted.budget_ms < answer.beyond.latency.high


def test_the_input_may_stay():
    scaling = programme("resnet18", same_input=True)
    answer = scaling.solve(Wanted(macs=4 * scaling.before().macs))
    assert answer.after.size == 224


def test_patches_decide_the_sizes_of_the_input():
    scaling = programme("vit_b16", fast(0.2))
    assert scaling.at(2.0).size % 16 == 0


@pytest.mark.parametrize(
    ("name", "rule", "wanted", "message"),
    [
        ("vit_b16", fast(), Wanted(macs=10**12), "no scale comes up to 1T MACs: the largest has"),
        ("vit_b16", fast(), Wanted(macs=10), "no scale comes down to 10 MACs: the smallest has"),
        ("resnet18", tiny(), Wanted(params=10**8), "the rule 'tiny' only shrinks"),
    ],
)
def test_what_no_scale_reaches_is_told_with_what_would_be(name, rule, wanted, message):
    with pytest.raises(ScaleError, match=message):
        programme(name, rule).solve(wanted)
