"""Conflicts of bounds against enumeration of all designs and all sets of bounds."""

import math
from dataclasses import replace
from itertools import combinations

import pytest
from random_programmes import designs, random_programme

from nas.solver.conflict import conflict, least


def tight(seed, part):
    """A random programme whose bounds are a part of what they were."""
    programme = random_programme(seed)
    resources = tuple(replace(r, limit=r.limit * part) for r in programme.resources)
    bound = None if programme.effectiveness is None else programme.effectiveness * part
    return replace(programme, resources=resources, effectiveness=bound, _steps={})


def values(programme):
    """What each allowed design comes to, by bound."""
    found = []
    for design in designs(programme):
        figures = programme.figures(design)
        if figures.score > -math.inf:
            own = dict(zip("xy", figures.used, strict=True))
            found.append({**own, "effectiveness": figures.effectiveness})
    return found


def limits(programme):
    found = {r.name: r.limit for r in programme.resources}
    if programme.effectiveness is not None:
        found["effectiveness"] = programme.effectiveness
    return found


@pytest.mark.parametrize("part", [0.1, 0.35, 0.6])
@pytest.mark.parametrize("seed", range(14))
def test_it_is_a_smallest_set_and_what_each_must_give_is_the_least_that_does(seed, part):
    programme = tight(seed, part)
    every, bounds = values(programme), limits(programme)

    def kept(names):
        return [v for v in every if all(v[n] <= bounds[n] * (1 + 1e-12) for n in names)]

    sizes = [
        size
        for size in range(len(bounds) + 1)
        if any(not kept(names) for names in combinations(bounds, size))
    ]
    found = conflict(programme)
    if not sizes:
        assert found is None
        return
    assert found is not None
    assert found.proven
    names = [needed.name for needed in found.bounds]
    assert len(names) == sizes[0]
    assert not kept(names)
    for needed in found.bounds:
        others = [name for name in names if name != needed.name]
        wanted = min(v[needed.name] for v in kept(others))
        near = 2e-3 if needed.name == "effectiveness" else 1e-6
        assert needed.least == pytest.approx(wanted, rel=near)
        assert needed.least >= wanted * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_least_use_is_that_of_enumeration(seed):
    programme = random_programme(seed)
    cheap = least(programme, "x", [])
    most = max(cheap.figures(design).score for design in designs(cheap))
    use = min((v["x"] for v in values(programme)), default=math.inf)
    assert most == pytest.approx(-1000 * use / programme.resources[0].limit)


def test_the_message_names_the_bounds_and_the_cure():
    found = conflict(tight(1, 0.1))
    text = str(found)
    assert text.startswith("no design exists: ")
    for needed in found.bounds:
        assert needed.name in text
        assert f"+{needed.give:.2%}" in text
