import numpy as np
import pytest

from hwprofile.trees import Trees

# Two questions, four leaves: is a above 1, is b above 2; leaves count steps of 1e-4.
TREE = [[[0, 1.0], [1, 2.0]], [0, 100, 2000, 90000]]


def test_a_leaf_is_the_binary_number_of_the_answers() -> None:
    trees = Trees(("a", "b"), 0.5, 1.0, [TREE])
    rows = np.array([[1.0, 2.0], [1.0, 2.5], [1.5, 2.0], [1.5, 2.5]])
    assert trees(rows).tolist() == pytest.approx([0.5, 0.51, 0.7, 1.0])


def test_trees_add_up_in_any_number_of_rows() -> None:
    trees = Trees(("a", "b"), 0.0, 9.0, [TREE, TREE])
    rows = np.random.default_rng(0).uniform(0, 3, (9000, 2))
    one = Trees(("a", "b"), 0.0, 9.0, [TREE])
    assert trees(rows) == pytest.approx(np.minimum(2 * one(rows), 9.0))


@pytest.mark.parametrize(
    ("trees", "message"),
    [
        ([[[[0, 1.0]], [1, 2, 3]]], "1 questions and 2 leaves; got 1 and 3"),
        ([TREE, [[[0, 1.0]], [1, 2]]], "2 questions and 4 leaves; got 1 and 2"),
    ],
)
def test_trees_of_several_shapes_are_refused(trees: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trees(("a", "b"), 0.0, 1.0, trees)


def test_rows_must_have_all_features() -> None:
    with pytest.raises(ValueError, match=r"\[rows, 2\]; got \(1, 3\)"):
        Trees(("a", "b"), 0.0, 1.0, [TREE])(np.zeros((1, 3)))
