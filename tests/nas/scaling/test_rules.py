"""Scaling rules against what the papers print."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.scaling.rules import TINY, fast, tiny


@given(scale=st.floats(0.01, 100.0), alpha=st.floats(0.0, 1.0))
def test_fast_scaling_multiplies_the_operations_by_the_scale(scale, alpha):
    f = fast(alpha).factors(scale)
    assert f.depth * f.width**2 * f.resolution**2 == pytest.approx(scale)


@pytest.mark.parametrize(
    ("alpha", "activations"), [(1.0, 0.5), (0.8, 0.6), (1 / 3, 5 / 6), (0.0, 1.0)]
)
def test_activations_grow_as_in_table_4(alpha, activations):
    # (2 - α) / 2 for the printed α = 1 and 0.8: a width scales activations by its root.
    f = fast(alpha).factors(2.0)
    assert f.depth * f.width * f.resolution**2 == pytest.approx(2.0**activations)


def test_uniform_compound_scaling_gives_each_a_third():
    f = fast(1 / 3).factors(8.0)
    assert (f.depth, f.width, f.resolution) == pytest.approx((2.0, sqrt(2.0), sqrt(2.0)))


def test_alpha_is_a_part():
    with pytest.raises(ValueError, match=r"from 0 to 1; got 1\.5"):
        fast(1.5)


@pytest.mark.parametrize(("resolution", "depth", "width"), TINY)
def test_the_tiny_formula_meets_the_published_networks(resolution, depth, width):
    f = tiny().factors(depth * width**2 * resolution**2)
    assert (f.resolution, f.depth, f.width) == pytest.approx((resolution, depth, width))


@given(c=st.floats(0.001, 1.0), more=st.floats(1.0, 2.0))
def test_the_tiny_formula_keeps_its_equation_and_never_turns(c, more):
    one, other = tiny().factors(c), tiny().factors(min(1.0, c * more))
    assert one.depth * one.width**2 * one.resolution**2 == pytest.approx(c)
    assert one.depth <= other.depth
    assert one.resolution <= other.resolution
