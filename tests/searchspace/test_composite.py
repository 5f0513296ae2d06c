"""Branches and cells: what they compute and what they refuse."""

import pytest
import torch

from searchspace.build import build, flow
from searchspace.primitives.composite import Branch, Dag
from searchspace.primitives.norm import LayerScale
from searchspace.primitives.parameter_free import Identity, Zero
from searchspace.read import GrammarError, read_grammar
from searchspace.shapes import ShapeError, TensorSpec, image, vector
from searchspace.tree import Node, primitive

_HEAD = "space s : image[4, 8, 8] -> classes[3]\n"


def _branch(join, *bodies):
    return primitive("branch", join, children=tuple((body,) for body in bodies))


def _dag(count, body="identity"):
    return primitive("dag", children=((primitive(body),),) * count)


@pytest.mark.parametrize("nodes", [2, 3, 4, 5])
def test_a_cell_sums_all_paths_from_its_first_node_to_its_last(nodes):
    """With a factor on each edge, the sum over all paths is an entry of (1 - A)^-1."""
    generator = torch.Generator().manual_seed(nodes)
    ends = [(i, j) for j in range(nodes) for i in range(j)]
    factors = torch.randn(len(ends), generator=generator).tolist()
    adjacency = torch.zeros(nodes, nodes, dtype=torch.double)
    for (i, j), factor in zip(ends, factors, strict=True):
        adjacency[j, i] = factor
    gain = torch.linalg.inv(torch.eye(nodes, dtype=torch.double) - adjacency)[-1, 0]
    x = torch.randn(2, 3, 4, 5, dtype=torch.double)
    cell = Dag(*(LayerScale(3, initial=factor) for factor in factors)).double()
    torch.testing.assert_close(cell(x), gain * x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("join", ["add", "multiply", "concat"])
def test_branches_are_joined(join):
    x = torch.randn(2, 3, 4, 5)
    joined = Branch(Identity(), LayerScale(3, initial=2.0), LayerScale(3, initial=-1.0), join=join)
    parts = [x, 2 * x, -x]
    expected = {
        "add": lambda: parts[0] + parts[1] + parts[2],
        "multiply": lambda: parts[0] * parts[1] * parts[2],
        "concat": lambda: torch.cat(parts, 1),
    }[join]()
    torch.testing.assert_close(joined(x), expected)


def test_tokens_and_vectors_are_concatenated_along_their_features():
    branch = Branch(Identity(), Zero(), join="concat")
    assert branch(torch.ones(2, 5, 3)).shape == (2, 5, 6)
    assert branch(torch.ones(2, 3)).shape == (2, 6)
    node = _branch("concat", primitive("identity"), primitive("zero"))
    assert flow(node, TensorSpec("tokens", (5, 3))).shape == (5, 6)
    assert flow(node, vector(3)) == vector(6)


def test_a_branch_may_change_resolution_and_width():
    node = _branch("concat", primitive("conv", 6, 3, 2), primitive("strided_max_pool", 3, 2))
    out = flow(node, image(4, 7, 8))
    assert out == image(10, 4, 4)
    network = build(Node("net", 0, (), ((node,),)), image(4, 7, 8))
    assert network(torch.randn(2, 4, 7, 8)).shape == (2, *out.shape)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (_branch("add", primitive("identity"), primitive("conv", 5, 1, 1)), "must give one shape"),
        (_branch("concat", primitive("identity"), primitive("conv", 4, 3, 2)), "all but channels"),
        (_branch("concat", primitive("identity"), primitive("global_pool")), "all but channels"),
        (_branch("add", primitive("identity")), "at least 2 sequences are needed; got 1"),
        (primitive("residual", children=((), ())), "1 sequences are needed; got 2"),
        (_dag(2), r"dag needs 1, 3, 6, 10, … bodies.*; got 2"),
        (_dag(7), r"dag needs 1, 3, 6, 10, … bodies.*; got 7"),
        (_dag(3, "global_pool"), r"keep its shape image\[4, 8, 8\]; one gives vector\[4\]"),
    ],
)
def test_refusals(node, words):
    with pytest.raises(ShapeError, match=words):
        flow(node, image(4, 8, 8))


def test_pooled_branches_may_be_concatenated():
    node = _branch("concat", primitive("global_pool"), primitive("generalised_mean_pool"))
    assert flow(node, image(4, 8, 8)) == vector(8)


def test_a_grammar_gives_a_branch_two_sequences_or_more():
    text = _HEAD + "net -> branch(add, eca, identity, zero) global_pool classifier(classes)\n"
    read_grammar(text)
    with pytest.raises(GrammarError, match="takes at least 3 arguments; got 2"):
        read_grammar(_HEAD + "net -> branch(add, eca) global_pool classifier(classes)\n")
