"""DeepMAD's score: a published network, closed forms, and what must add nothing."""

import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import drawn, shipped
from torch import Tensor, nn

from hwprofile.blocks import BlockTable
from hwprofile.trace import trace
from nas.testing.predictors import PredictorContract
from predictors.base import Context
from predictors.entropy import (
    EntropyPredictor,
    Flow,
    Scale,
    entropy,
    flow_through,
    height_of,
    quantization_gain,
    quantized_deviation,
    visible_taps,
)
from searchspace.sample import sample
from searchspace.shapes import TensorSpec, image, vector
from searchspace.space import load_space
from searchspace.text import from_text

# DeepMAD-R18 as published: alibaba/lightweight-neural-architecture-search at 8ccaf88. A stem with
# 3 x 3 taps and stride 2 from 3 to 32 channels at 224 x 224, then rows of bottlenecks 1 x 1, k x k,
# 1 x 1: (channels in, out, k, stride, length, inner channels). Its raw score there, in which the
# depths of the stages play no part, and its effectiveness.
ROWS = (
    (32, 96, 5, 2, 1, 40),
    (96, 384, 5, 2, 6, 40),
    (384, 384, 5, 2, 9, 64),
    (384, 1024, 3, 1, 10, 104),
    (1024, 672, 5, 2, 12, 104),
)
RAW_SCORE, EFFECTIVENESS = 32120.203451603797, 0.2990955537315472


class TestEntropyPredictor(PredictorContract):
    def make(self, context):
        return EntropyPredictor(context)


class TestEntropyPredictorOfTheShippedSpace(PredictorContract):
    def make(self, context):
        return EntropyPredictor(context)

    def grammar(self):
        return shipped()


def deepmad_r18() -> list[Scale]:
    """A scale ends where the next row has a stride."""
    flow, channels, height, scales = Flow(math.log(3 * 9), 1.0), 32, 112, []
    for before, after, kernel, stride, length, inner in ROWS:
        if stride == 2:
            scales.append(Scale(channels=channels, height=height, flow=flow))
            height //= 2
        for index in range(length):
            entering = before if index == 0 else after
            for fan_in in (entering, inner * kernel**2, inner):
                flow += Flow(math.log(fan_in), 1.0)
        channels = after
    return [*scales, Scale(channels=channels, height=height, flow=flow)]


def test_the_published_network_has_the_published_score():
    found = entropy(deepmad_r18())
    assert found.score + 10 == pytest.approx(RAW_SCORE, rel=1e-12)
    assert found.effectiveness == pytest.approx(EFFECTIVENESS, rel=1e-12)


def test_uneven_depths_cost_ten_times_the_exponential_of_their_deviation():
    scale = Scale(channels=8, height=4, flow=Flow(2.0, 1.0))
    depths = [1, 3, 5, 0]  # of which 0 is no stage; the others deviate by sqrt(8 / 3)
    scales = [Scale(channels=8, height=4, flow=Flow(2.0, 1.0)) for _ in depths]
    spread = entropy(scales, depths).score - entropy([scale] * 4).score
    assert spread == pytest.approx(-10 * (math.exp(math.sqrt(8 / 3)) - 1))


def test_no_convolution_scores_nothing():
    found = entropy([Scale(channels=8, height=4, flow=Flow())])
    assert (found.score, found.effectiveness) == (-10, 0)


def test_one_scale_in_closed_form():
    """One convolution of 7 x 7 taps on 16 channels: the only scale has weight 8."""
    found = entropy([Scale(channels=16, height=32, flow=Flow(math.log(16 * 49), 1.0))])
    volume = math.log(16) + 2 * math.log(32)
    assert found.score == pytest.approx(8 * volume * math.log(16 * 49) / 2 - 10)
    assert found.effectiveness == pytest.approx(1 / (16 * 49))


# --- Rounded and clipped Gaussians ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("sigma", "bits", "published"), [(1, 2, 1.00892), (1, 8, 1.04083), (2, 3, 1.94414)]
)
def test_deviations_of_the_quantization_aware_form(sigma, bits, published):
    assert quantized_deviation(float(sigma), bits) == pytest.approx(published, abs=5e-6)


@pytest.mark.parametrize(("sigma", "bits"), [(1.0, 2), (4.0, 3), (5.0, 8)])
def test_deviations_against_draws(sigma, bits):
    draws = np.random.default_rng(0).normal(0, sigma, 400_000)
    clipped = np.clip(np.rint(draws), -(2 ** (bits - 1)), 2 ** (bits - 1))
    assert quantized_deviation(sigma, bits) == pytest.approx(clipped.std(), rel=5e-3)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0, 5.0, 30.0])
def test_with_many_bits_only_the_rounding_error_is_added(sigma):
    assert quantized_deviation(sigma, 16) == pytest.approx(math.sqrt(sigma**2 + 1 / 12), rel=1e-7)
    assert quantized_deviation(sigma, 32) == quantized_deviation(sigma, 16)


def test_more_bits_gain_more():
    gains = [quantization_gain(bits, bits) for bits in (2, 3, 4, 5)]
    assert gains == sorted(gains)
    assert quantization_gain(8, 8) == pytest.approx(
        math.log(math.sqrt(16 + 1 / 12) * math.sqrt(25 + 1 / 12) / 5), rel=1e-6
    )


# --- Taps ----------------------------------------------------------------------------------------


@given(
    st.integers(1, 14), st.integers(1, 9), st.integers(1, 3), st.integers(0, 6), st.integers(1, 3)
)
def test_visible_taps_against_a_padded_row(size, kernel, stride, padding, dilation):
    span = dilation * (kernel - 1) + 1
    out = (size + 2 * padding - span) // stride + 1
    if out < 1:
        return
    row = np.concatenate([np.zeros(padding), np.ones(size), np.zeros(padding)])
    seen = [row[o * stride : o * stride + span : dilation].sum() for o in range(out)]
    assert visible_taps(size, out, kernel, stride, padding, dilation) == pytest.approx(
        max(1.0, float(np.mean(seen)))
    )


@pytest.mark.parametrize(("kernel", "most"), [(3, 9), (7, 49), (31, 49)])
def test_a_kernel_beyond_the_map_counts_no_more_than_the_map(kernel, most):
    conv = nn.Conv2d(4, 4, kernel, padding=kernel // 2, groups=4)
    flow = flow_through(trace(conv, (1, 4, 7, 7)))
    assert math.exp(flow.log_width) <= most + 1e-9
    assert (math.exp(flow.log_width) == pytest.approx(49)) == (kernel == 31)


def test_without_a_border_every_tap_counts():
    conv = nn.Conv2d(6, 10, (3, 5), groups=2)
    flow = flow_through(trace(conv, (1, 6, 20, 20)))
    assert flow == Flow(pytest.approx(math.log(6 * 15 / 2)), 1.0)


# --- Along the data flow -------------------------------------------------------------------------


class Two(nn.Module):
    """Two branches and how they meet."""

    def __init__(self, meet: str) -> None:
        super().__init__()
        self.meet, self.a = meet, nn.Conv2d(4, 6, 1)
        self.b = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Conv2d(6, 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x[:, :, 1:-1, 1:-1]), self.b(x)
        if self.meet == "cat":
            return torch.cat([a, b[:, :2]], 1)
        return a + b if self.meet == "add" else a * b


@pytest.mark.parametrize(
    ("meet", "wanted"),
    [
        ("add", Flow(math.log(36) + math.log(6), 2.0)),
        ("mul", Flow(math.log(4), 1.0)),
        ("cat", Flow((6 * math.log(4) + 2 * math.log(36 * 6)) / 8, (6 * 1 + 2 * 2) / 8)),
    ],
)
def test_how_paths_meet(meet, wanted):
    found = flow_through(trace(Two(meet), (1, 4, 9, 9)))
    assert found.log_width == pytest.approx(wanted.log_width)
    assert found.depth == pytest.approx(wanted.depth)


def score(stage: str, *, quantized: bool = False, size: int = 16):
    """Score of a stem, a block of these primitives twice, and a head."""
    block = f"block:0@float[{stage}]"
    root = from_text(
        f"net:0[stem:0@float[strided_conv(8,1)]; stage:0[{block}; {block}]; "
        "head:0@float[global_pool; classifier(3)]]"
    )
    spec = image(3, size, size)
    costs = BlockTable(spec).costs(root)
    context = Context(grammar=shipped(), spec=spec, costs=lambda a: costs, quantized=quantized)
    return EntropyPredictor(context).entropy(costs)


@pytest.mark.parametrize(
    ("stage", "same"),
    [
        ("depthwise(5); plain(gelu); squeeze_excite(4)", "depthwise(5); plain(gelu)"),
        ("depthwise(5); plain(gelu); eca", "depthwise(5); plain(gelu)"),
        ("residual[depthwise(5) max_pool(3)]", "residual[depthwise(5)]"),
        ("max_pool(3)", "average_pool(5)"),
        ("max_pool(3)", "shift; layer_norm; activation(gelu)"),
        ("dilated_reparam(13)", "depthwise(13)"),
        ("dilated_reparam(17)", "depthwise(17)"),
    ],
)
def test_what_adds_nothing_or_the_same(stage, same):
    found, wanted = score(stage), score(same)
    assert found.score == pytest.approx(wanted.score, rel=1e-12)
    assert found.effectiveness == pytest.approx(wanted.effectiveness, rel=1e-12)


def test_blocks_of_pools_leave_the_stem_alone():
    found = score("max_pool(3)")
    # Of 16 x 16 places with 3 x 3 taps, those along the border see less: (16 * 3 - 2)^2 in all.
    taps = ((16 * 3 - 2) / 16) ** 2
    volume = math.log(8) + 2 * math.log(16)
    assert found.score == pytest.approx(8 * volume * math.log(3 * taps) / 2 - 10)


def test_more_is_worth_more():
    assert score("depthwise(5)").score > score("depthwise(3)").score
    assert score("depthwise(5); plain(gelu)").score > score("depthwise(5)").score


def test_where_precision_is_searched_each_convolution_gains_by_its_bits():
    plain, searched = (score("depthwise(5)", quantized=flag).score for flag in (False, True))
    volume = math.log(8) + 2 * math.log(16)
    assert searched - plain == pytest.approx(8 * volume * 3 * quantization_gain(16, 16))


def test_every_drawn_network_has_a_score_whose_scales_grow():
    grammar = shipped()
    table = BlockTable(grammar.input)
    context = Context(grammar=grammar, spec=grammar.input, costs=lambda a: table.costs(a.root))
    predictor = EntropyPredictor(context)
    random = Random(0)
    for _ in range(5):
        costs = table.costs(drawn(grammar, random.getrandbits(32)).root)
        scales = list(predictor.scales(costs.blocks))
        assert len({scale.height for scale in scales}) == len(scales) >= 4
        widths = [scale.flow.log_width for scale in scales]
        assert widths == sorted(widths)
        convolutions = sum(
            call.op == "convolution" for block in costs.blocks for call in block.record.calls
        )
        assert 0 < scales[-1].flow.depth <= convolutions + 20
        assert predictor.entropy(costs) == entropy(scales, predictor.depths(costs))


def test_the_score_is_that_of_the_whole_network_traced_at_once():
    """Blocks in a chain add up: carried along the whole trace, the flow is the same."""
    from searchspace.build import build

    root = from_text(
        "net:0[stem:0@float[strided_conv(8,2)]; stage:0[block:0@float["
        "residual[inception_depthwise(7) layer_norm inverted(2,gelu)]]*2]]"
    )
    spec = image(3, 32, 32)
    costs = BlockTable(spec).costs(root)
    total = Flow()
    for block in costs.blocks:
        total += flow_through(block.record)
    with torch.device("meta"):
        whole = flow_through(trace(build(root, spec), (1, 3, 32, 32)))
    assert total.log_width == pytest.approx(whole.log_width)
    assert total.depth == pytest.approx(whole.depth)


# --- Tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "height"),
    [
        (TensorSpec("tokens", (196, 8)), 14),
        (TensorSpec("tokens", (197, 8)), 14),
        (TensorSpec("tokens", (1, 8)), 1),
        (image(8, 14, 7), 14),
        (vector(8), 1),
    ],
)
def test_tokens_have_the_height_of_the_square_that_they_fill(spec, height):
    assert height_of(spec) == height


def test_a_map_scores_the_same_as_pixels_and_as_tokens():
    assert score("depthwise(3); to_tokens; to_image").score == score("depthwise(3)").score
    pixels, read = score("plain(gelu)"), score("plain(gelu); to_tokens; to_image")
    assert (read.score, read.effectiveness) == (pixels.score, pixels.effectiveness)


def test_token_networks_have_finite_scores():
    grammar = load_space("vit", limits={"depth": (1, 3)})
    table = BlockTable(grammar.input)
    context = Context(grammar=grammar, spec=grammar.input, costs=lambda a: table.costs(a.root))
    predictor = EntropyPredictor(context)
    drawn_ones = [sample(grammar, Random(seed)) for seed in range(15)]
    assert all(math.isfinite(found.value) for found in predictor.predict(drawn_ones))
    for architecture in drawn_ones:
        found = predictor.entropy(table.costs(architecture.root))
        assert found.effectiveness > 0
