"""Scaled trees: of the space, nearest to what was asked, and the same at scale 1."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchspace.build import flow
from searchspace.check import check
from searchspace.published import PUBLISHED, published
from searchspace.read import read_grammar
from searchspace.roles import Roles
from searchspace.sample import sample
from searchspace.scaled import Factors, OutOfSpaceError, fitted, scaled
from searchspace.shapes import vector
from searchspace.space import load_space, space_names
from searchspace.tree import walk

GROUPED = """
space grouped : image[3, 32, 32] -> classes[10]
domain width = 16 .. 256 step 8
domain group = 1 | 2 | 4 | 8 | 16 | 32
domain depth = 1 .. 8
network -> stem(w) block(w, g) ^ n head with w : width ; g : group ; n : depth
stem(w) is block -> strided_conv(out: w, stride: 2) batch_norm
block(w, g) is block -> residual(grouped_conv(w, 3, 1, g) batch_norm)
head is block -> global_pool classifier(classes)
"""


def spaces():
    return [(name, load_space(name)) for name in space_names()]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_at_factors_of_one_is_itself(name):
    network = PUBLISHED[name]
    grammar = load_space(network.space, classes=network.classes)
    root = published(name).root
    assert scaled(grammar, root, Factors()).root == root


@settings(deadline=None, max_examples=25)
@given(
    space=st.sampled_from(["conv_large_kernel", "conv_resnet", "hybrid", "mobile", "vit"]),
    seed=st.integers(0, 10**6),
    depth=st.floats(0.4, 2.0),
    width=st.floats(0.4, 2.0),
)
def test_what_comes_out_is_a_tree_of_the_space(space, seed, depth, width):
    grammar = load_space(space)
    root = sample(grammar, Random(seed)).root
    try:
        tree = scaled(grammar, root, Factors(depth=depth, width=width, group=width))
        found = fitted(grammar, tree)
    except OutOfSpaceError:
        return
    check(grammar, found)
    assert flow(found, grammar.input) == vector(grammar.classes)


def test_spaces_without_sizes_stay_as_they_are():
    for name in ("nasbench201", "pooling"):
        grammar = load_space(name)
        root = sample(grammar, Random(1)).root
        assert scaled(grammar, root, Factors(depth=2, width=2)).root == root


def test_a_resnet_of_twice_the_width_has_twice_its_widths():
    root = scaled(load_space("conv_resnet"), published("resnet50").root, Factors(width=0.5)).root
    assert root.values == (32, 4, 128, 256, 512, 1024)
    middles = {node.values[3] for _, node in walk(root) if node.symbol == "narrow"}
    assert middles == {32, 64, 128, 256}


def test_depth_counts_the_layers_that_stand_beside_the_repeated_ones():
    grammar = load_space("conv_resnet")
    root = scaled(grammar, published("resnet50").root, Factors(depth=2)).root
    stages = [node for _, node in walk(root) if node.symbol == "stage"]
    assert [1 + len(stage.children[1]) for stage in stages] == [6, 8, 12, 6]


def test_depth_of_a_count_that_rules_hand_on_scales():
    grammar = load_space("nasnet")
    root = scaled(grammar, published("nasnet_a").root, Factors(depth=1.5)).root
    assert {len(node.children[1]) for _, node in walk(root) if node.symbol == "stage"} == {4}


def test_expansions_keep_their_ratio_to_the_width_that_enters():
    root = scaled(load_space("mobile"), published("mobilenet_v2").root, Factors(width=0.7)).root
    ratios = {
        node.values[3] / node.values[0]
        for _, node in walk(root)
        if node.symbol == "inverted_block" and node.alternative == 0
    }
    assert ratios == {6}


def test_what_is_at_the_end_of_its_values_is_named():
    grammar, root = load_space("conv_large_kernel"), published("convnext_tiny").root
    assert scaled(grammar, root, Factors(width=1.5)).held == ("network.w4",)
    with pytest.raises(OutOfSpaceError, match="conv_large_kernel holds no network"):
        scaled(grammar, root, Factors(depth=20, width=20))


def test_groups_widen_and_still_divide_the_features():
    grammar = read_grammar(GROUPED)
    root = next(
        tree
        for tree in (sample(grammar, Random(seed)).root for seed in range(1000))
        if tree.values[0] == 64 and tree.values[1] == 8
    )
    wider = fitted(grammar, scaled(grammar, root, Factors(width=2.0, group=2.0)))
    assert wider.values[:2] == (128, 16)
    odd = fitted(grammar, scaled(grammar, root, Factors(width=1.25, group=4.0)))
    assert odd.values[0] % odd.values[1] == 0
    check(grammar, odd)


def test_depthwise_groups_stay():
    grammar = read_grammar(GROUPED)
    root = next(
        tree
        for tree in (sample(grammar, Random(seed)).root for seed in range(1000))
        if tree.values[1] == 1
    )
    assert scaled(grammar, root, Factors(group=8.0)).root.values[1] == 1


def roles_of(space, symbol, alternative=0):
    grammar = load_space(space)
    roles, rule = Roles(grammar), grammar.rules[symbol]
    chosen = rule.alternatives[alternative]
    names = [*rule.parameters, *(name for name, _ in chosen.draws)]
    return {name: roles.variable(chosen, index) for index, name in enumerate(names)}


def test_roles_follow_variables_to_the_primitives():
    stem = {"a", "b", "c", "d", "e"}
    network = roles_of("conv_resnet", "network")
    assert {name for name, role in network.items() if role == "width"} == stem
    assert network["r"] is None
    assert roles_of("vit", "columnar")["h"] == "width"
    assert roles_of("nasnet", "network")["n"] == "depth"
    assert roles_of("nasnet", "network")["k"] is None
    ratio = roles_of("hybrid", "glmix", 1)
    assert (ratio["h"], ratio["r"]) == ("width", None)
