import copy
import pickle

import pytest
from hypothesis import given
from strategies import nodes

from searchspace.tree import Node, at, primitive, units, walk

_CONV, _NORM = primitive("depthwise", 3), primitive("layer_norm")
_BLOCK = Node("block", 0, (), ((_CONV,), (_NORM, _NORM)), "float")
_ROOT = Node("network", 0, (8,), ((_CONV,), (Node("stage", 0, (), ((_BLOCK, _BLOCK),)),)))


def test_walk_gives_parents_first_and_at_follows_its_paths():
    found = list(walk(_ROOT))
    assert [node.symbol for _, node in found] == [
        "network", "depthwise", "stage", *["block", "depthwise", "layer_norm", "layer_norm"] * 2,
    ]  # fmt: skip
    assert all(at(_ROOT, path) is node for path, node in found)
    assert len({path for path, _ in found}) == len(found)


def test_a_path_out_of_the_tree_is_an_index_error():
    with pytest.raises(IndexError):
        at(_ROOT, ((1, 0), (0, 2)))


def test_units_are_blocks_and_loose_primitives():
    assert [(path, node) for path, node in units(_ROOT)] == [
        (((0, 0),), _CONV),
        (((1, 0), (0, 0)), _BLOCK),
        (((1, 0), (0, 1)), _BLOCK),
    ]


@pytest.mark.parametrize(
    "other",
    [
        Node("other", 0, (), ((_CONV,), (_NORM, _NORM)), "float"),
        Node("block", 1, (), ((_CONV,), (_NORM, _NORM)), "float"),
        Node("block", 0, (1,), ((_CONV,), (_NORM, _NORM)), "float"),
        Node("block", 0, (), ((_CONV, _NORM), (_NORM,)), "float"),
        Node("block", 0, (), ((_CONV,), (_NORM, _NORM)), "w8a8"),
    ],
)
def test_every_field_is_part_of_the_identity(other):
    assert other != _BLOCK
    assert len({other, _BLOCK}) == 2


def test_a_node_is_never_equal_to_something_else():
    assert _NORM != "layer_norm"
    assert _NORM != None  # noqa: E711


@given(nodes())
def test_copies_are_equal_and_hash_alike(node):
    for other in (pickle.loads(pickle.dumps(node)), copy.deepcopy(node)):
        assert other == node
        assert hash(other) == hash(node)
