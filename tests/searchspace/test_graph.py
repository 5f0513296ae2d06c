"""The graph of an architecture: its form, its specs, and that folding loses nothing."""

from random import Random

import networkx as nx
import pytest
import torch
from drawn_trees import EVERY_COMPOSITE, composite_trees, tree_of
from hypothesis import given, settings
from strategies import seeds, shipped_architectures, small_grammars

from searchspace.build import build, flow, plan
from searchspace.graph import graph
from searchspace.primitives import PRIMITIVES
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.shapes import ShapeError, image, vector
from searchspace.space import load_space
from searchspace.tree import primitive


def layers(node):
    """Primitives without sequences that are built for a node, copies counted."""
    if not node.is_primitive:
        return sum(map(layers, node.flat()))
    if not node.children:
        return 1
    found = PRIMITIVES[node.symbol]
    return found.copies(found.named(node.values)) * sum(map(layers, node.flat()))


def times(drawn, group):
    """How often a group is built."""
    groups, count = drawn.graph["groups"], 1
    while group is not None:
        count *= groups[group].count
        group = groups[group].parent
    return count


def built(drawn, key):
    """The sum of a property of the primitives and joins, as often as they are built."""
    nodes = [data for _, data in drawn.nodes(data=True)]
    return sum(key(data) * data["count"] * times(drawn, data["group"]) for data in nodes)


def is_layer(data):
    return data["kind"] == "primitive"


def holds(root, spec):
    """Check all that is promised of both graphs of a tree."""
    with torch.device("meta"):
        parameters = sum(p.numel() for p in build(root, spec).parameters())
    for fold in (False, True):
        drawn = graph(root, spec, fold=fold)
        assert nx.is_directed_acyclic_graph(drawn)
        assert list(drawn) == list(range(len(drawn)))
        assert all(a < b for a, b in drawn.edges), "numbered in an order of the data flow"
        assert [n for n in drawn if not drawn.pred[n]] == [0]
        assert [n for n in drawn if not drawn.succ[n]] == [len(drawn) - 1]
        assert drawn.nodes[0]["kind"] == "input"
        assert drawn.nodes[len(drawn) - 1]["kind"] == "output"
        assert built(drawn, is_layer) == layers(root)
        assert built(drawn, lambda data: data["parameters"]) == parameters
        specs_agree(drawn, root, spec)
        if not fold:
            assert {data["count"] for _, data in drawn.nodes(data=True)} == {1}
            assert all(group.count == 1 for group in drawn.graph["groups"])


def specs_agree(drawn, root, spec):
    assert drawn.nodes[0]["before"] == spec
    assert drawn.nodes[len(drawn) - 1]["after"] == flow(root, spec)
    for a, b, edge in drawn.edges(data=True):
        assert edge["spec"] == drawn.nodes[a]["after"]
        if drawn.nodes[b]["kind"] != "join":
            assert drawn.nodes[b]["before"] == edge["spec"]
    for _, data in drawn.nodes(data=True):
        if data["kind"] == "primitive":
            layer = primitive(data["name"], *data["values"].values())
            assert flow(layer, data["before"]) == data["after"]
        elif data["kind"] in ("input", "output", "pass"):
            assert data["before"] == data["after"]


@settings(max_examples=10, deadline=None)
@given(shipped_architectures())
def test_shipped_trees(architecture):
    holds(architecture.root, image(3, 64, 64))


@settings(max_examples=30, deadline=None)
@given(small_grammars(), seeds)
def test_small_trees(grammar, seed):
    holds(sample(grammar, Random(seed)).root, grammar.input)


@settings(max_examples=60, deadline=None)
@given(composite_trees())
def test_nested_composites(root):
    holds(root, image(8, 8, 8))


def test_every_composite_once():
    holds(tree_of(EVERY_COMPOSITE), image(8, 8, 8))


@pytest.mark.parametrize("seed", range(3))
def test_vision_transformers(seed):
    limits = {"heads": (1, 2), "depth": (1, 3), "mix": (64, 64)}
    grammar = load_space("vit", limits=limits)
    holds(sample(grammar, Random(seed)).root, grammar.input)


HEADER = "space own : image[8, 8, 8] -> classes[4]\n"
TAIL = "tail -> global_pool classifier(classes)\n"


def drawn_of(text, *, fold=True):
    grammar = read_grammar(HEADER + text + TAIL)
    return graph(sample(grammar, Random(0)).root, grammar.input, fold=fold)


def counts(drawn, kind):
    return [(g.name, g.count) for g in drawn.graph["groups"] if g.kind == kind]


def test_equal_parts_in_a_row_are_drawn_once_with_their_number():
    drawn = drawn_of("net -> eca ^^ 3 b ^^ 2 shift eca b tail\nb is block -> residual(eca) ^ 4\n")
    rows = [(d["name"], d["count"]) for _, d in drawn.nodes(data=True) if is_layer(d)]
    assert rows[:4] == [("eca", 3), ("eca", 1), ("shift", 1), ("eca", 1)]
    assert counts(drawn, "block") == [("b", 2), ("b", 1)]
    assert counts(drawn, "composite") == [("residual", 4), ("residual", 4)]
    assert len(drawn_of("net -> eca ^^ 3 tail\n", fold=False)) == 3 + 2 + 2


def test_parts_that_come_again_in_the_same_order_are_one_row():
    drawn = drawn_of("net -> pair ^^ 5 eca ^^ 2 tail\npair -> residual(eca) eca eca shift\n")
    rows = [i for i, g in enumerate(drawn.graph["groups"]) if g.kind == "row"]
    assert [drawn.graph["groups"][i].count for i in rows] == [5]
    inside = [(d["name"], d["count"]) for _, d in drawn.nodes(data=True) if d["group"] in rows]
    assert inside == [("eca", 2), ("shift", 1)]


def test_copies_that_change_the_shape_are_not_equal():
    drawn = drawn_of("net -> strided_conv(8, 2) ^ 3 tail\n")
    after = [d["after"] for _, d in drawn.nodes(data=True) if d["name"] == "strided_conv"]
    assert after == [image(8, 4, 4), image(8, 2, 2), image(8, 1, 1)]


def test_equal_bodies_side_by_side_are_drawn_once():
    drawn = drawn_of("net -> branch(concat, eca, eca, shift, eca) tail\n")
    assert [count for _, count in counts(drawn, "body")] == [2, 1, 1]
    assert drawn.nodes[len(drawn) - 1]["after"] == vector(4)


def test_a_residual_passes_its_body_by():
    drawn = drawn_of("net -> residual(eca shift) tail\n")
    ((a, b),) = [(a, b) for a, b, edge in drawn.edges(data=True) if edge["skip"]]
    assert (drawn.nodes[a]["kind"], drawn.nodes[b]["name"]) == ("split", "add")
    assert nx.has_path(drawn, a, b)
    assert drawn.in_degree(b) == 2


def test_an_empty_body_is_an_edge_of_its_own():
    drawn = drawn_of("net -> branch(multiply, eca, none) residual(none) tail\nnone -> eca ^ 0\n")
    joins = [n for n, d in drawn.nodes(data=True) if d["kind"] == "join"]
    assert [drawn.in_degree(join) for join in joins] == [2, 2]
    assert sum(d["kind"] == "pass" for _, d in drawn.nodes(data=True)) == 2


def test_groups_have_the_paths_of_the_built_network():
    grammar = load_space("conv_large_kernel", limits={"depth": (2, 2)})
    root = sample(grammar, Random(3)).root
    drawn = graph(root, grammar.input)
    paths = [g.path for g in drawn.graph["groups"] if g.kind == "block"]
    assert paths == [p for part in plan(root, grammar.input) for p in part.paths()]
    network = build(root, grammar.input)
    for path in paths:
        assert network.get_submodule(path) is not None


def test_rules_that_only_arrange_are_no_groups():
    drawn = drawn_of("net -> a tail\na -> mix a | mix mix\nmix -> eca shift\n", fold=False)
    assert drawn.graph["groups"] == ()


def test_recursion_does_not_nest():
    rules = "f(n) -> b f(n - 1) where n > 0 | b where n == 0\nb is block -> eca\n"
    drawn = drawn_of(f"net -> f(5) tail\n{rules}")
    assert {g.parent for g in drawn.graph["groups"] if g.kind == "block"} <= {None, 0}
    assert counts(drawn, "block") == [("b", 6)]


def test_what_does_not_fit_is_told():
    with pytest.raises(ShapeError, match="at net/"):
        graph(tree_of("net:0[branch(add)[conv(4,3,2); eca]]"), image(8, 8, 8))
