import math
import re
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from searchspace.build import calls, flow, module_of
from searchspace.primitives import PRIMITIVES
from searchspace.primitives.base import Parameter, Primitive
from searchspace.primitives.channel import (
    Activation,
    EfficientChannelAttention,
    Linear,
    SqueezeExcite,
)
from searchspace.primitives.composite import Residual
from searchspace.primitives.convolution import (
    DILATED_BRANCHES,
    DilatedReparam,
    InceptionDepthwise,
    StridedConv,
)
from searchspace.primitives.norm import LayerNorm, LayerScale
from searchspace.primitives.parameter_free import AveragePool, MaxPool, MeanPool, Permute, Shift
from searchspace.shapes import ShapeError, TensorSpec, image, vector
from searchspace.testing import attempts
from searchspace.tree import Node, Value, primitive

_SIZES = st.integers(1, 9)


def _allowed(parameter: Parameter) -> tuple[Value, ...]:
    """Some values that a parameter may have."""
    choices = parameter.words or parameter.choices or tuple(range(parameter.least, 12))
    return tuple(value for value in choices if parameter.fault(value) is None)


_VALUES = {"grouped_conv": (48, 3, 1, 8), "residual_reduction": (16,)}
"""Arguments of primitives that do not take the smallest of each."""


@st.composite
def _cases(draw) -> tuple[Node, TensorSpec]:
    found = PRIMITIVES[draw(st.sampled_from(sorted(PRIMITIVES)))]
    values = [draw(st.sampled_from(_allowed(parameter))) for parameter in found.parameters]
    bodies = ((primitive("depthwise", 3), primitive("plain", "relu")),) * abs(found.groups)
    spec = image(draw(st.integers(1, 30)), draw(_SIZES), draw(_SIZES))
    mode = draw(st.sampled_from(("image", "tokens", "vector")))
    if mode == "vector":
        spec = vector(spec.channels)
    elif mode == "tokens":
        spec = TensorSpec("tokens", (draw(st.integers(1, 30)), spec.channels))
    return primitive(found.name, *values, children=bodies), spec


@given(_cases())
@settings(max_examples=500)
def test_shape_rules_agree_with_the_modules(case):
    node, spec = case
    try:
        out = flow(node, spec)
    except ShapeError:
        return
    with torch.device("meta"):
        (call,), planned = calls((node,), spec)
        assert planned == out
        y = module_of(call).eval()(torch.empty(2, *spec.shape))
    assert tuple(y.shape) == (2, *out.shape)


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_every_primitive_serves_some_mode(name):
    found = PRIMITIVES[name]
    values = _VALUES.get(name) or [_allowed(parameter)[0] for parameter in found.parameters]
    node = primitive(name, *values, children=((primitive("bias"),),) * abs(found.groups))
    served = []
    for spec in (image(16, 5, 6), TensorSpec("tokens", (16, 16)), vector(16)):
        try:
            flow(node, spec)
            served.append(spec.mode)
        except ShapeError as fault:
            assert str(spec) in str(fault)  # noqa: PT017
    assert served


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_channels_last_stays_channels_last(name):
    found = PRIMITIVES[name]
    values = _VALUES.get(name) or [_allowed(parameter)[0] for parameter in found.parameters]
    node = primitive(name, *values, children=((primitive("bias"),),) * abs(found.groups))
    try:
        if flow(node, image(24, 8, 7)).mode != "image":
            return
    except ShapeError:
        return
    (call,), _ = calls((node,), image(24, 8, 7))
    x = torch.randn(2, 24, 8, 7).contiguous(memory_format=torch.channels_last)
    for module in (
        module_of(call),
        module_of(call).to(memory_format=torch.channels_last),
        module_of(call, merged=True).eval(),
    ):
        assert module(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kernel", DILATED_BRANCHES)
def test_merged_branches_equal_the_branches(kernel):
    torch.manual_seed(kernel)
    layer = DilatedReparam(6, kernel)
    with torch.no_grad():
        for norm in layer.norms:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.weight.normal_()
            norm.bias.normal_()
        for conv in layer.convs:
            conv.weight.normal_(std=1 / conv.kernel_size[0])
    layer.eval()
    x = torch.randn(2, 6, 20, 19)
    before = layer(x)
    layer.merge()
    assert [type(m) for m in layer.children()] == [nn.Conv2d]
    torch.testing.assert_close(layer(x), before, rtol=1e-5, atol=1e-5)
    again = layer.merged
    layer.merge()
    assert layer.merged is again
    DilatedReparam(6, kernel, merged=True).load_state_dict(layer.state_dict())


def test_merging_keeps_the_precision():
    layer = DilatedReparam(4, 7).double().eval()
    x = torch.randn(1, 4, 9, 9, dtype=torch.float64)
    before = layer(x)
    layer.merge()
    torch.testing.assert_close(layer(x), before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("channels", "part"), [(4, 1), (16, 2), (23, 2), (64, 8)])
def test_inception_leaves_five_eighths_alone_and_mixes_the_rest_in_its_directions(channels, part):
    torch.manual_seed(0)
    layer, rest = InceptionDepthwise(channels, 7), channels - 3 * part
    x = torch.randn(1, channels, 15, 15)
    assert torch.equal(layer(x)[:, :rest], x[:, :rest])
    # What reaches the middle pixel tells each branch's window.
    for first, window in ((rest, (1, 1)), (rest + part, (0, 3)), (rest + 2 * part, (3, 0))):
        x = torch.randn(1, channels, 15, 15, requires_grad=True)
        layer(x)[0, first, 7, 7].backward()
        rows, columns = torch.nonzero(x.grad[0, first], as_tuple=True)
        assert (rows.min(), rows.max()) == (7 - window[0], 7 + window[0])
        assert (columns.min(), columns.max()) == (7 - window[1], 7 + window[1])
        assert x.grad[0].abs().sum((1, 2)).count_nonzero() == 1


@pytest.mark.parametrize("channels", [5, 12, 30])
def test_shift_moves_as_written_by_hand(channels):
    part = max(1, channels // 12)
    x = torch.randn(2, channels, 4, 5)
    y = Shift(channels)(x)
    steps = [(0, 1), (0, -1), (1, 0), (-1, 0)]
    for c in range(channels):
        dy, dx = steps[c // part] if c < 4 * part else (0, 0)
        for i in range(4):
            for j in range(5):
                inside = 0 <= i + dy < 4 and 0 <= j + dx < 5
                source = x[:, c, i + dy, j + dx] if inside else torch.zeros(2)
                assert torch.equal(y[:, c, i, j], source)


def test_layer_norm_normalises_the_channels_of_each_pixel():
    layer = LayerNorm(7, eps=1e-6)
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    x = torch.randn(2, 7, 3, 4)
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
    expected = (x - mean) / (variance + 1e-6).sqrt() * layer.weight[:, None, None]
    torch.testing.assert_close(layer(x), expected + layer.bias[:, None, None])
    pixel = x[:, :, 1, 2]
    torch.testing.assert_close(layer(x)[:, :, 1, 2], layer(pixel))
    torch.testing.assert_close(
        layer(pixel), F.layer_norm(pixel, (7,), layer.weight, layer.bias, 1e-6)
    )


@pytest.mark.parametrize(
    ("channels", "kernel"),
    [(1, 1), (8, 3), (16, 3), (32, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)],
)
def test_the_kernel_of_channel_attention_grows_as_published(channels, kernel):
    # The authors' code: t = int(abs((log2(C) + 1) / 2)), and k = t if t is odd, else t + 1.
    assert EfficientChannelAttention(channels).conv.kernel_size == (kernel,)


def test_channel_attention_weights_by_neighbouring_means():
    layer = EfficientChannelAttention(16)
    x = torch.randn(1, 16, 5, 4)
    means = [float(x[0, c].mean()) for c in range(16)]
    a, b, c = layer.conv.weight.flatten().tolist()
    padded = [0.0, *means, 0.0]
    weights = torch.tensor(
        [a * padded[i] + b * padded[i + 1] + c * padded[i + 2] for i in range(16)]
    )
    torch.testing.assert_close(layer(x), x * weights.sigmoid()[:, None, None])


@pytest.mark.parametrize(("channels", "hidden"), [(16, 8), (64, 16)])
def test_squeeze_and_excite_is_a_small_network_of_the_means(channels, hidden):
    layer = SqueezeExcite(channels, 4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.3)
    assert layer.squeeze.out_channels == hidden
    x = torch.randn(3, channels, 4, 6)
    means = x.flatten(2).mean(2)
    inner = F.relu(F.linear(means, layer.squeeze.weight.flatten(1), layer.squeeze.bias))
    weights = F.linear(inner, layer.excite.weight.flatten(1), layer.excite.bias).sigmoid()
    torch.testing.assert_close(layer(x), x * weights[:, :, None, None])


def test_pools_leave_the_border_out():
    ones = torch.ones(1, 2, 4, 5)
    torch.testing.assert_close(AveragePool(7)(ones), ones)
    torch.testing.assert_close(MaxPool(3)(-ones), -ones)
    x = torch.arange(20.0).reshape(1, 1, 4, 5)
    assert AveragePool(3)(x)[0, 0, 0, 0] == (0 + 1 + 5 + 6) / 4
    assert MaxPool(3)(x)[0, 0, 1, 1] == 12


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (3, 5), (4, 7)])
def test_strided_windows_overlap(stride, kernel):
    assert StridedConv(3, 4, stride).conv.kernel_size == (kernel, kernel)


def test_the_mean_over_all_positions_of_any_mode():
    for shape in ((2, 3, 4, 5), (2, 4, 3), (2, 3)):
        x = torch.randn(shape)
        positions = x.reshape(2, 3, -1) if len(shape) == 4 else x.reshape(2, -1, 3).mT
        expected = sum(positions[..., i] for i in range(positions.shape[2])) / positions.shape[2]
        torch.testing.assert_close(MeanPool()(x), expected)


@pytest.mark.parametrize("order", ["cwh", "hcw", "hwc", "wch", "whc"])
def test_permutations_of_an_image(order):
    x = torch.randn(2, 3, 4, 5)
    assert flow(primitive("permute", order), image(3, 4, 5)).shape == tuple(
        {"c": 3, "h": 4, "w": 5}[letter] for letter in order
    )
    y = Permute(order)(x)
    for place in product(range(3), range(4), range(5)):
        where = [dict(zip("chw", place, strict=True))[letter] for letter in order]
        assert torch.equal(y[:, *where], x[:, *place])


def test_tokens_are_transposed():
    x = torch.randn(2, 4, 3)
    assert torch.equal(Permute("dn")(x), x.mT)
    assert flow(primitive("permute", "dn"), TensorSpec("tokens", (4, 3))).shape == (3, 4)
    for order, spec in (("dn", image(3, 4, 5)), ("hcw", TensorSpec("tokens", (4, 3)))):
        with pytest.raises(ShapeError, match=rf"permute\({order}\) needs"):
            flow(primitive("permute", order), spec)


def test_a_linear_layer_is_a_product_at_each_position():
    layer = Linear(3, 5)
    with torch.no_grad():
        layer.linear.bias.normal_()
    weight, bias = layer.linear.weight, layer.linear.bias
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(layer(x), F.conv2d(x, weight[:, :, None, None], bias))
    tokens = torch.randn(2, 4, 3)
    torch.testing.assert_close(layer(tokens)[:, 1], tokens[:, 1] @ weight.T + bias)
    torch.testing.assert_close(layer(tokens[:, 0]), tokens[:, 0] @ weight.T + bias)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        ("gelu", lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2)))),
        ("silu", lambda v: v / (1 + math.exp(-v))),
        ("relu", lambda v: max(v, 0.0)),
        ("relu6", lambda v: min(max(v, 0.0), 6.0)),
        ("leaky_relu", lambda v: v if v > 0 else v / 100),
        ("hardswish", lambda v: v * min(max(v + 3, 0.0), 6.0) / 6),
        ("sigmoid", lambda v: 1 / (1 + math.exp(-v))),
        ("tanh", lambda v: 1 - 2 / (math.exp(2 * v) + 1)),
    ],
)
def test_activations(act, expected):
    points = [-5.0, -2.5, -0.5, 0.0, 0.5, 2.5, 7.0]
    y = Activation(act)(torch.tensor(points))
    torch.testing.assert_close(y, torch.tensor([expected(v) for v in points]))


def test_those_that_serve_everything_are_marked():
    for found in PRIMITIVES.values():
        refused = found.name == "last_linear"  # of sizes above those that are tried
        for values, spec in attempts(found):
            try:
                found.result(spec, found.named(values), [spec] * abs(found.groups))
            except ShapeError:
                refused = True
        # What a composite serves depends on its bodies.
        assert found.total == (not refused and not found.groups), found.name


def test_parameters_have_a_largest_value_where_one_is_stated():
    percent = Parameter(name="percent", most=99)
    assert [percent.fault(v) for v in (1, 99)] == [None, None]
    assert percent.fault(0) == "percent must be an integer of at least 1"
    assert percent.fault(100) == "percent must be at most 99"


def test_layer_scale_weights_the_features_of_tokens():
    scale, x = LayerScale(3), torch.randn(2, 4, 3)
    with torch.no_grad():
        scale.scale.copy_(torch.tensor([1.0, 2.0, 3.0]))
    expected = torch.stack([x[..., 0], 2 * x[..., 1], 3 * x[..., 2]], dim=-1)
    assert torch.equal(scale(x), expected)
    assert torch.equal(scale(x[:, 0]), expected[:, 0])


def test_residual_adds_and_layer_scale_scales():
    x = torch.randn(2, 3, 4, 4)
    scale = LayerScale(3)
    torch.testing.assert_close(scale(x), x * 1e-6)
    with torch.no_grad():
        scale.scale.copy_(torch.tensor([1.0, 2.0, 3.0]))
    expected = torch.stack([2 * x[:, 0], 3 * x[:, 1], 4 * x[:, 2]], dim=1)
    torch.testing.assert_close(Residual(scale)(x), expected)


def test_convolutions_start_as_convnext_does():
    torch.manual_seed(0)
    conv = StridedConv(64, 256, 2).conv
    assert conv.bias.count_nonzero() == 0
    assert conv.weight.std().item() == pytest.approx(0.02, rel=0.02)


_DOCS = Path(__file__).parents[2] / "docs"


def _sections() -> dict[str, str]:
    parts = re.split(
        r"^### `?(\w+)[^\n]*\n", (_DOCS / "primitives.md").read_text("utf-8"), flags=re.M
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_documentation_has_a_section_for_each_primitive_and_no_other():
    text = (_DOCS / "primitives.md").read_text("utf-8")
    headings = re.findall(r"^### (.*)$", text, flags=re.M)
    assert sorted(headings) == sorted(f"`{_form(p)}`" for p in PRIMITIVES.values())


def _form(found: Primitive) -> str:
    bodies = ["body"] * abs(found.groups) + ["…"] * (found.groups < 0)
    names = [*(parameter.name for parameter in found.parameters), *bodies]
    return f"{found.name}({', '.join(names)})" if names else found.name


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_the_documentation_names_parameters_and_sources(name):
    section, found = _sections()[name], PRIMITIVES[name]
    for parameter in found.parameters:
        assert f"`{parameter.name}`" in section
        for word in (*parameter.words, *map(str, parameter.choices)):
            assert word in section
    assert ("odd" in section.lower()) == any(p.odd for p in found.parameters)
    for source in re.findall(r"\d{4}\.\d{5}", found.summary):
        assert source in section
    assert "→" in section, "the shape that comes in and the one that leaves"
