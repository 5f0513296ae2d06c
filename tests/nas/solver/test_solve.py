"""Solvers by name against enumeration; the best designs against all of them, sorted."""

import pytest
from random_programmes import best as highest
from random_programmes import designs, random_programme

from nas.solver import solve as module
from nas.solver.solve import SOLVERS, best, solve
from nas.solver.superblocks import dense


# What `dp` and `milp` find is held against enumeration in their own files.
@pytest.mark.parametrize(
    ("solver", "seed"),
    [(solver, seed) for solver in SOLVERS for seed in range(8 if solver == "relax" else 3)],
)
def test_bounds_hold_and_designs_keep_the_bounds(solver, seed):
    programme = random_programme(seed)
    wanted = highest(programme)
    solution = solve(programme, solver, gap=1e-6, seconds=20)
    assert solution.progress.bound >= wanted - 1e-6
    assert solution.progress.score <= wanted + 1e-9
    if solution.design is not None:
        assert not programme.excess(programme.figures(solution.design))
    if solver != "relax":
        assert solution.optimal


def test_a_relaxation_comes_near_the_best_where_rounding_loses_little():
    widths = [16, 32, 64, 96, 128, 192, 256, 384, 512]
    template = dense(widths=widths, mids=widths[:6], kernels=(3,), depths=(1, 8))
    programme = template.programme(params=5e6, macs=1e9, effectiveness=0.4)
    quick, exact = (solve(programme, name, gap=0.01, seconds=20) for name in ("relax", "dp"))
    assert quick.progress.score <= exact.progress.bound
    assert exact.progress.score <= quick.progress.bound
    assert quick.progress.score > 0.95 * exact.progress.score


def test_a_second_solver_takes_over(monkeypatch):
    programme = random_programme(1)
    real = module.branch
    monkeypatch.setattr(module, "branch", lambda p, **kw: real(p, **{**kw, "seconds": 0.0}))
    solution = solve(programme, "auto", gap=1e-6)
    assert solution.solver == "dp, then milp"
    assert solution.optimal
    assert solution.progress.score == pytest.approx(highest(programme), rel=2e-6)


@pytest.mark.parametrize("solver", ["dp", "milp"])
@pytest.mark.parametrize("seed", [1, 3, 5])
def test_the_best_designs_are_those_that_sorting_all_finds(solver, seed):
    programme = random_programme(seed)
    scores = sorted(
        (
            figures.score
            for design in designs(programme)
            if not programme.excess(figures := programme.figures(design))
            and figures.score > float("-inf")
        ),
        reverse=True,
    )
    found = best(programme, 3, solver, gap=1e-6, seconds=60)
    if not scores:
        assert [solution.design for solution in found] == [None]
        return
    assert [s.progress.score for s in found] == pytest.approx(scores[:3], rel=2e-6)
    assert len({solution.design for solution in found}) == len(found)


def test_unknown_names_and_counts_are_refused():
    with pytest.raises(ValueError, match="auto, dp, milp, relax; got 'cplex'"):
        solve(random_programme(0), "cplex")
    with pytest.raises(ValueError, match="at least 1; got 0"):
        best(random_programme(0), 0)
