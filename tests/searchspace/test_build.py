import copy
import re
from random import Random

import pytest
import torch
from hypothesis import given, settings
from strategies import drawn, seeds, shipped, small_grammars
from torch import nn

import searchspace.build
from searchspace.build import build, calls, flow, leaves, module_of, plan, sequence_of
from searchspace.primitives import PRIMITIVES
from searchspace.primitives.base import Primitive
from searchspace.primitives.convolution import DilatedReparam
from searchspace.read import read_grammar
from searchspace.shapes import ShapeError, image, vector
from searchspace.space import load_space
from searchspace.text import from_text
from searchspace.tree import Node, primitive

_HEAD = "space s : image[8, 16, 16] -> classes[2]\n"


@given(small_grammars(), seeds)
@settings(max_examples=25)
def test_the_plan_names_each_part_once_and_the_names_are_stable(grammar, seed):
    root = drawn(grammar, seed).root
    parts = plan(root, grammar.input)
    names = [part.name for part in parts]
    assert len(set(names)) == len(names)
    with torch.device("meta"):
        first, second = build(root, grammar.input), build(root, grammar.input)
    assert list(first.state_dict()) == list(second.state_dict())
    assert [name for name, _ in first.named_children()] == names


def test_the_names_of_a_small_network():
    grammar = read_grammar(
        _HEAD + "net -> stem stage stage head\nstem -> strided_conv(8, 2)\nstage -> block ^ 2\n"
        "block is block -> residual(eca layer_norm) layer_norm\n"
        "head -> global_pool classifier(classes)\n"
    )
    root = drawn(grammar, 0).root
    network = build(root, grammar.input)
    assert list(network.state_dict()) == [
        "stem.conv.weight",
        "stem.conv.bias",
        *(
            f"stage{s}.{b}.{name}"
            for s in (1, 2)
            for b in (0, 1)
            for name in ("0.body.0.conv.weight", "0.body.1.weight", "0.body.1.bias",
                         "1.weight", "1.bias")
        ),
        "head.1.linear.weight",
        "head.1.linear.bias",
    ]  # fmt: skip
    assert [path for part in plan(root, grammar.input) for path in part.paths()] == [
        "stem", "stage1.0", "stage1.1", "stage2.0", "stage2.1", "head",
    ]  # fmt: skip


def test_names_that_are_taken_do_not_lose_a_part():
    grammar = read_grammar(
        _HEAD + "net -> stage stage stage1 forward pop eca\nstage -> depthwise(3)\n"
        "stage1 -> depthwise(5)\nforward -> depthwise(7)\npop -> depthwise(9)\n"
    )
    network = build(drawn(grammar, 0).root, grammar.input)
    assert [name for name, _ in network.named_children()] == [
        "stage1", "stage2", "stage1_", "forward_", "pop_", "eca",
    ]  # fmt: skip
    kernels = [m.kernel_size[0] for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [3, 3, 5, 7, 9]


def test_empty_rows_and_bodies_pass_everything_on():
    grammar = read_grammar(
        _HEAD
        + "domain n = 0 | 1\nnet -> stage(n) residual(stage(0)) eca ^ 0\nstage(n) -> shift ^ n\n"
    )
    root = next(r for r in (drawn(grammar, s).root for s in range(9)) if r.flat()[0].values == (0,))
    x = torch.randn(2, 8, 16, 16)
    torch.testing.assert_close(build(root, grammar.input)(x), 2 * x)


def _narrow_network(seed: int, size: int = 32) -> tuple[nn.Module, Node]:
    limits = {"width": (32, 48), "depth": (1, 2)}
    grammar = load_space("conv_large_kernel", classes=3, limits=limits)
    root = drawn(grammar, seed).root
    torch.manual_seed(seed)
    return build(root, image(3, size, size)), root


@pytest.mark.parametrize(("seed", "size"), [(0, 32), (1, 33), (2, 16), (3, 45)])
def test_networks_run_forwards_and_backwards(seed, size):
    network, root = _narrow_network(seed, size)
    y = network(torch.randn(2, 3, size, size))
    assert y.shape == (2, *flow(root, image(3, size, size)).shape) == (2, 3)
    y.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_merging_does_not_change_what_a_network_computes():
    network = next(
        n
        for n, _ in map(_narrow_network, range(10))
        if any(isinstance(m, DilatedReparam) for m in n.modules())
    )
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    network.eval()
    merged = copy.deepcopy(network)
    for module in merged.modules():
        if isinstance(module, DilatedReparam):
            module.merge()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(merged(x), network(x), rtol=1e-4, atol=1e-5)


def test_a_plan_gives_the_training_and_the_merged_form():
    body = primitive("residual", children=((primitive("dilated_reparam", 7), primitive("eca")),))
    (call,), spec = calls((Node("rule", 0, (), ((body,),)),), image(8, 9, 9))
    assert spec == image(8, 9, 9)
    assert [inner.primitive.name for inner in call.bodies[0]] == ["dilated_reparam", "eca"]
    assert call.bodies[0][0].arguments == {"channels": 8, "kernel": 7}
    names = set(module_of(call, merged=True).state_dict())
    assert names == {"body.0.merged.weight", "body.0.merged.bias", "body.1.conv.weight"}
    trained = module_of(call)
    trained.body[0].merge()
    assert set(trained.state_dict()) == names
    assert isinstance(sequence_of(call.bodies[0]), nn.Sequential)


def test_leaves_enter_rules_but_not_composites():
    inner = primitive("residual", children=((primitive("eca"),),))
    tree = Node("a", 0, (), ((Node("b", 0, (), ((inner, inner),)),), (primitive("shift"),)))
    assert [node.symbol for node in leaves(tree)] == ["residual", "residual", "shift"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "net:0[stage:0[residual[strided_conv(4,2)]]]",
            "at net/stage/residual: the body of residual must keep its shape image[8, 9, 9]; "
            "it gives image[4, 5, 5]",
        ),
        (
            "net:0[classifier(3)]",
            "at net/classifier: classifier needs a vector, so pool first; got image[8, 9, 9]",
        ),
        (
            "net:0[global_pool depthwise(3)]",
            "at net/depthwise: a spatial mixer needs an image; got vector[8]",
        ),
        (
            "net:0[strided_conv(4,1) shift]",
            "at net/shift: shift needs an image of 5 channels or more; got image[4, 9, 9]",
        ),
        (
            "net:0[strided_conv(3,1); inception_depthwise(7)]",
            "at net/inception_depthwise: inception_depthwise needs 4 channels or more; "
            "got image[3, 9, 9]",
        ),
        ("net:0[depthwise(4)]", "at net/depthwise: kernel must be odd; got 4"),
        ("net:0[depthwise]", "at net/depthwise: 1 values are needed; got ()"),
        ("net:0[residual]", "at net/residual: 1 sequences are needed; got 0"),
        ("net:0[eca[shift]]", "at net/eca: 0 sequences are needed; got 1"),
    ],
)
def test_shape_faults_name_the_place_in_the_tree(text, message):
    for step in (flow, build, plan):
        with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
            step(from_text(text), image(8, 9, 9))


def test_an_unknown_primitive_is_named_with_those_known():
    with pytest.raises(ShapeError, match=r"no primitive 'conv9'; known are activation, "):
        build(from_text("net:0[conv9]"), image(8, 9, 9))


@given(seeds)
@settings(max_examples=6)
def test_shipped_networks_have_the_promised_shape_at_any_resolution(seed):
    grammar, size = shipped(), Random(seed).randrange(1, 80)
    root = drawn(grammar, seed).root
    spec = image(3, size, size + 1)
    with torch.device("meta"):
        y = build(root, spec).eval()(torch.empty(2, *spec.shape))
    assert flow(root, spec) == vector(10)
    assert y.shape == (2, 10)


class _Halves(nn.Module):
    """One body for each half of the channels."""

    def __init__(self, *bodies: nn.Module) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(bodies)

    def forward(self, x):
        halves = x.chunk(2, dim=1)
        return torch.cat([body(half) for body, half in zip(self.bodies, halves, strict=True)], 1)


def _half(spec, values):
    if spec.channels % 2:
        raise ShapeError(f"halves needs an even number of channels; got {spec}")
    return spec.with_channels(spec.channels // 2)


def test_a_composite_may_change_what_its_bodies_see_and_build_them_several_times(monkeypatch):
    halves = Primitive(
        name="halves",
        summary="one body for each half",
        module=_Halves,
        arguments=lambda spec, values: {},
        groups=1,
        inside=_half,
        copies=lambda values: 2,
        result=lambda spec, values, inner: inner[0].with_channels(2 * inner[0].channels),
    )
    monkeypatch.setattr(searchspace.build, "PRIMITIVES", {**PRIMITIVES, "halves": halves})
    inner = primitive("halves", children=((primitive("strided_conv", 3, 2),),))
    node = Node("net", 0, (), ((primitive("halves", children=((inner,),)),),))
    assert flow(node, image(8, 6, 6)) == image(12, 3, 3)
    network = build(node, image(8, 6, 6))
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    assert [w.shape[:2] for w in weights] == [(3, 2)] * 4
    assert len({w.flatten()[0].item() for w in weights}) == 4
    assert network(torch.randn(2, 8, 6, 6)).shape == (2, 12, 3, 3)
    with pytest.raises(
        ShapeError, match=r"at net/halves/halves: halves needs an even .*\[3, 6, 6\]"
    ):
        flow(node, image(6, 6, 6))
