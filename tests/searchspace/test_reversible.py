"""Reversible columns: the recurrence written out, and their inputs back from their outputs."""

import pytest
import torch
from torch import nn

from hwprofile.trace import trace
from nas.export.source import module_source
from searchspace.architecture import Architecture
from searchspace.build import build, flow
from searchspace.primitives.reversible import ReversibleColumns
from searchspace.shapes import ShapeError, TensorSpec, image, vector
from searchspace.tree import Node, primitive

_SHAPES = {"image": (2, 6, 4, 5), "tokens": (2, 7, 6), "vector": (2, 6)}


def _columns(levels, columns, mode="image"):
    torch.manual_seed(0)
    layers = {"image": lambda: nn.Conv2d(6, 6, 3, padding=1), "tokens": lambda: nn.Linear(6, 6)}
    bodies = [
        nn.Sequential(layers.get(mode, layers["tokens"])(), nn.Tanh())
        for _ in range(levels * columns)
    ]
    module = ReversibleColumns(*bodies, columns=columns, channels=6).double()
    with torch.no_grad():
        module.scales.uniform_(-1, 1)
        module.scales[0, 0] = 0
    return module, torch.randn(_SHAPES[mode], dtype=torch.float64)


@pytest.mark.parametrize("mode", _SHAPES)
@pytest.mark.parametrize(("levels", "columns"), [(1, 3), (2, 2), (3, 4)])
def test_the_inputs_of_all_columns_come_back_from_the_outputs_of_the_last(levels, columns, mode):
    module, x = _columns(levels, columns, mode)
    forth = [module.column(0, x, None)]
    for number in range(1, columns):
        forth.append(module.column(number, x, forth[-1]))
    assert torch.equal(module(x), forth[-1][-1])
    back = forth[-1]
    for number in reversed(range(1, columns)):
        back = module.reverse(number, x, back)
        for one, other in zip(back, forth[number - 1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_two_columns_of_three_levels_written_out():
    f, x = _columns(3, 2, "vector")
    scale = f.scales.clone()
    scale[0, 0] = 1e-3  # kept from 0
    a0 = f.bodies[0](x)
    a1 = f.bodies[1](a0)
    a2 = f.bodies[2](a1)
    b0 = f.bodies[3](x + a1) + scale[0] * a0
    b1 = f.bodies[4](b0 + a2) + scale[1] * a1
    b2 = f.bodies[5](b1) + scale[2] * a2
    torch.testing.assert_close(f(x), b2)


def _node(columns, levels):
    groups = ((primitive("depthwise", 3), primitive("bias")),) * levels
    return primitive("reversible_columns", columns, children=groups)


def test_it_builds_traces_and_exports_as_part_of_a_network():
    root = Node("net", 0, (), ((_node(3, 2),),))
    spec = image(6, 5, 5)
    network = build(root, spec).eval()
    # Six bodies of 6 · (9 + 1 + 1) and four levels that have one before them.
    assert sum(p.numel() for p in network.parameters()) == 6 * 6 * 11 + 4 * 6
    assert trace(network, (2, *spec.shape)).output_shapes == ((2, 6, 5, 5),)
    scope = {"__name__": "exported"}
    exec(module_source(Architecture(space="s", root=root), spec), scope)
    written = scope["Network"]().eval()
    written.load_state_dict(network.state_dict())
    x = torch.randn(2, *spec.shape)
    assert torch.equal(written(x), network(x))
    y = network(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_refusals():
    narrow = primitive("reversible_columns", 2, children=((), (primitive("conv", 5, 1, 1),)))
    words = r"must keep their shape image\[6, 5, 5\]; one gives image\[5, 5, 5\]"
    with pytest.raises(ShapeError, match=words):
        flow(narrow, image(6, 5, 5))
    with pytest.raises(ShapeError, match="columns must be an integer of at least 2; got 1"):
        flow(_node(1, 2), image(6, 5, 5))


def test_it_serves_whatever_its_bodies_keep():
    node = primitive("reversible_columns", 2, children=((primitive("bias"),),) * 2)
    for spec in (vector(3), TensorSpec("tokens", (5, 3)), image(3, 2, 2)):
        assert flow(node, spec) == spec
