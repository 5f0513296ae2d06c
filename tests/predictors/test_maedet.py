"""MAE-DET's score: its closed form, and the published networks."""

import math

import pytest
from deepmad_structures import PUBLISHED, published

from hwprofile.blocks import BlockTable
from nas.solver.structures import architecture_of
from nas.testing.predictors import PredictorContract
from nas.testing.space import many
from predictors.base import Context
from predictors.deepmad import maedet
from predictors.maedet import MaeDetPredictor
from searchspace.shapes import image
from searchspace.space import load_space
from searchspace.text import from_text


class TestMaeDetPredictor(PredictorContract):
    def make(self, context):
        return MaeDetPredictor(context)


def score(root, size: int) -> float:
    table = BlockTable(image(3, size, size))
    context = Context(grammar=many(), spec=table.spec, costs=lambda a: table.costs(a.root))
    return MaeDetPredictor(context).score(table.costs(root))


@pytest.mark.parametrize("name", ["DeepMAD-R18", "DeepMAD-50M"])
def test_published_networks_score_as_the_toolbox_says(name):
    """On large maps, where nearly all taps see input."""
    tree = architecture_of(published(name), load_space("conv_resnet"))
    found, wanted = score(tree.root, 64 * 32), maedet(published(name))
    assert wanted == pytest.approx(PUBLISHED[name]["maedet"])
    assert found == pytest.approx(wanted, rel=0.005)
    assert found < wanted


def network(*widths: int):
    blocks = "; ".join(f"stem:0@float[conv({width},1,2)]" for width in widths)
    return from_text(f"net:0[{blocks}; head:0@float[global_pool; classifier(3)]]")


def test_the_last_three_scales_weigh_one_one_and_six():
    found = score(network(8, 16, 32, 64), 64)
    second, third, last = (math.log(3 * 8 * n) / 2 for n in (1, 16, 16 * 32))
    wanted = math.log(16) + second + math.log(32) + third + 6 * (math.log(64) + last)
    assert found == pytest.approx(wanted)


def test_fewer_scales_have_the_last_weights():
    assert score(network(8), 64) == pytest.approx(6 * (math.log(8) + math.log(3) / 2))
    head = from_text("net:0[head:0@float[global_pool; classifier(3)]]")
    assert score(head, 64) == 0
