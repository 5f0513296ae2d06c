"""DeepMAD's own programme against the closed form, and its solution against the published one."""

from random import Random

import pytest

from nas.solver.branch import branch
from nas.solver.programme import Step
from nas.solver.superblocks import dense, gated
from predictors.deepmad import deepmad
from predictors.structure_cost import counts

DENSE = dense(widths=range(32, 1025, 96), mids=range(24, 121, 16), depths=(1, 12), form="toolbox")
GATED = gated(widths=range(24, 400, 48), mids=range(64, 2000, 320), tops=(1280, 1792))


def any_design(programme, random):
    source, steps = 0, []
    for layer in programme.layers:
        target, mode = (random.randrange(n) for n in layer.shape[1:])
        steps.append(Step(source, target, mode, random.randint(*layer.copies)))
        source = target
    return tuple(steps)


@pytest.mark.parametrize("template", [DENSE, GATED], ids=["dense", "gated"])
def test_figures_are_those_of_the_structure(template):
    free = type(template)(places=template.places, form=template.form, rising=False)
    programme = free.programme(params=1e9, flops=1e12, macs=1e12, effectiveness=0.3)
    for seed in range(20):
        design = any_design(programme, Random(seed))
        structure = free.structure(design)
        score, cost = deepmad(structure, form=free.form), counts(structure)
        figures = programme.figures(design)
        assert figures.used == pytest.approx((cost.params, cost.flops, cost.macs), rel=1e-12)
        assert figures.score == pytest.approx(score.value, rel=1e-12)
        assert figures.effectiveness == pytest.approx(score.effectiveness, rel=1e-12)


def test_a_design_within_the_bounds_is_proven_to_be_near_the_best():
    programme = DENSE.programme(params=11.7e6, flops=1.82e9, effectiveness=0.3)
    solution = branch(programme, gap=0.05, seconds=60)
    structure = DENSE.structure(solution.design)
    cost, score = counts(structure), deepmad(structure, form="toolbox")
    assert solution.optimal
    assert cost.params <= 11.7e6
    assert cost.flops <= 1.82e9
    assert score.effectiveness <= 0.3
    assert score.value == pytest.approx(solution.progress.score)
    assert score.value > 32_085, "DeepMAD-R18's, which takes more multiply-adds"
    outs = [part.out for part in structure.parts[1:]]
    assert outs == sorted(outs)


def test_a_bound_of_zero_is_refused():
    with pytest.raises(ValueError, match="bound on params must be above 0; got 0"):
        DENSE.programme(params=0)
