"""Zen-score: linear networks in closed form, and what must not change it."""

import math

import pytest
import torch

from nas.testing.predictors import PredictorContract
from predictors.zen import STEP, ZenPredictor, zen_scores
from searchspace.shapes import TensorSpec, image
from searchspace.text import from_text

SPEC = image(16, 12, 12)


class TestZenPredictor(PredictorContract):
    def make(self, context):
        return ZenPredictor(context)


def zen(layers: str, spec: TensorSpec = SPEC, **options) -> float:
    """Mean score of primitives, a pool and a classifier."""
    scores = zen_scores(from_text(f"net:0[{layers}; global_pool; classifier(3)]"), spec, **options)
    return sum(scores) / len(scores)


def linear(fan_in: int, outputs: int) -> float:
    """ln of the expected L1 norm of a Gaussian change with the variance 0.01^2 fan_in."""
    return math.log(STEP * math.sqrt(2 * fan_in / math.pi) * outputs)


def test_one_convolution_in_closed_form():
    assert zen("conv(96,1,1)") == pytest.approx(linear(16, 96 * 144), abs=0.05)


def test_a_chain_of_convolutions_multiplies_its_fan_ins():
    found = zen("conv(96,1,1); conv(128,1,1); conv(64,1,1)")
    assert found == pytest.approx(linear(16 * 96 * 128, 64 * 144), abs=0.1)


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm", "group_norm(8)", "rms_norm"])
def test_norms_are_put_back(norm):
    """Without what the norm divides by, the scores would differ by ln 16 for two layers."""
    plain, normed = zen("conv(256,1,1); conv(64,1,1)"), zen(f"conv(256,1,1); {norm}; conv(64,1,1)")
    assert normed == pytest.approx(plain, abs=0.1)


def test_tokens_score_as_the_pixels_that_they_are():
    assert zen("conv(64,1,1); to_tokens; to_image") == pytest.approx(zen("conv(64,1,1)"))
    assert zen("conv(64,1,1); to_tokens; layer_norm; to_image") == pytest.approx(
        zen("conv(64,1,1); layer_norm"), abs=1e-4
    )


def test_every_layer_with_more_inputs_adds_to_the_score():
    stem = "conv(32,3,1); batch_norm; activation(relu)"
    assert zen(f"{stem}; {stem}") > zen(stem) + 1
    assert zen(stem.replace("conv(32,3", "conv(32,5")) > zen(stem)
    assert zen(stem.replace("32", "64")) > zen(stem)


def test_a_network_has_one_score_and_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    layers = "conv(32,3,1); batch_norm; drop_path(50)"
    assert zen(layers) == zen(layers)
    assert zen(layers, repeats=1) == zen("conv(32,3,1); batch_norm", repeats=1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_deep_networks_without_norms_do_not_overflow():
    layers, depth = "conv(32,1,1); activation(relu)", 60
    found = zen("; ".join([layers] * depth))
    # A ReLU halves the second moment.
    wanted = linear(16 * 32 ** (depth - 1), 32 * 144) - depth / 2 * math.log(2)
    assert found == pytest.approx(wanted, rel=0.1)


def test_what_ignores_its_input_has_a_finite_score():
    assert zen("conv(8,1,1); zero") == pytest.approx(math.log(1e-30))


@pytest.mark.parametrize("options", [{"batch": 1}, {"repeats": 0}])
def test_too_few_images_or_repeats(options):
    with pytest.raises(ValueError, match="2 images and 1 repeat at least; got"):
        zen("conv(8,1,1)", **options)
