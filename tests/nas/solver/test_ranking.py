"""The best designs that differ against all trees of a space."""

import pytest
from solved_space import known, proof, task, trees

from nas.solver import ranking
from nas.solver.design import certify
from nas.solver.found import Measure
from searchspace.canonical import canonical_key
from searchspace.text import from_text


def listed():
    measure = Measure(task())
    return [known(from_text(row.architecture), measure) for row in proof().ranked]


def test_they_differ_and_the_best_comes_first():
    rows = proof().ranked
    assert len(rows) == 3
    assert rows[0].architecture == proof().designs[0]
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    spec = task().grammar.input
    assert len({canonical_key(tree.architecture, spec) for tree in listed()}) == 3
    assert len({tree.place for tree in listed()}) == 3
    kinds = {
        tuple((len(group[0].children[0]), frozenset(group[0].children[0])) for group in stages)
        for stages in ([g for g in t.architecture.root.children if g[0].children] for t in listed())
    }
    assert len(kinds) == 3, "the same blocks in another order are no other design"
    assert {row.architecture for row in rows} <= set(proof().designs)


def test_their_figures_are_those_of_the_trees():
    for row, tree in zip(proof().ranked, listed(), strict=True):
        assert row.key == tree.architecture.key
        for name in ("score", "effectiveness", "high_ms", "params", "macs"):
            assert getattr(row, name) == pytest.approx(getattr(tree.measured, name)), name


def test_no_design_with_like_copies_but_those_before_scores_more_than_the_bound():
    before = set()
    for row, tree in zip(proof().ranked, listed(), strict=True):
        others = [t for t in trees() if t.like and t.place not in before]
        best = max(t.measured.score for t in others)
        assert best <= row.bound * (1 + 1e-9)
        assert row.score <= row.bound
        assert row.gap <= 0.01
        before.add(tree.place)


def test_where_one_is_wanted_nothing_more_is_solved(monkeypatch):
    def never(*_):
        raise AssertionError("nothing is to be solved")

    monkeypatch.setattr(ranking, "solver_of", never)
    found = certify(task(gap=0.05))
    (only,) = found.ranked
    assert only.architecture == found.designs[0]
    assert (only.score, only.bound) == (pytest.approx(found.score), pytest.approx(found.bound))
    assert found.front is None


def test_as_many_as_there_are_where_more_are_wanted():
    found = certify(task(designs=50, limits={"width": (16, 16), "depth": (1, 1)}, gap=0.0))
    assert len(found.ranked) == 4  # two kernels in each of two stages
    assert found.ranked[-1].gap == 0
