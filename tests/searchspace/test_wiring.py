"""The wiring of every composite computes what its module does, body for body."""

import pytest
import torch
from torch import nn

from searchspace.primitives import PRIMITIVES
from searchspace.shapes import image
from searchspace.wiring import SPLIT, wiring

SPEC = image(4, 6, 6)


class Affine(nn.Module):
    """a x + b, with numbers of its own."""

    def __init__(self, index):
        super().__init__()
        self.a, self.b = 1.5 - 0.3 * index, 0.1 + 0.7 * index

    def forward(self, x):
        return self.a * x + self.b


def joined(name, tensors):
    """What a joint makes of tensors."""
    if name == "concat":
        return torch.cat(tensors, dim=1)
    y = tensors[0]
    for tensor in tensors[1:]:
        y = y + tensor if name == "add" else y * tensor
    return y


def followed(plan, bodies, x):
    """The output of a composite, computed along its wiring."""

    def value(port):
        kind, index = port
        if port == SPLIT:
            return x
        if kind == "body":
            return bodies[index](value(plan.entries[index]))
        joint = plan.joints[index]
        return joined(joint.name, [value(entry) for entry in joint.inputs])

    return value(("joint", len(plan.joints) - 1))


@pytest.mark.parametrize(
    ("symbol", "values", "count"),
    [
        ("residual", {}, 1),
        ("branch", {"join": "add"}, 3),
        ("branch", {"join": "multiply"}, 2),
        ("branch", {"join": "concat"}, 4),
        ("dag", {}, 1),
        ("dag", {}, 3),
        ("dag", {}, 6),
        ("dag", {}, 10),
        ("reversible_columns", {"columns": 2}, 2),
        ("reversible_columns", {"columns": 2}, 6),
        ("reversible_columns", {"columns": 3}, 9),
        ("reversible_columns", {"columns": 4}, 4),
    ],
)
def test_the_module_computes_what_is_wired(symbol, values, count):
    primitive = PRIMITIVES[symbol]
    bodies = [Affine(index) for index in range(count)]
    module = primitive.module(*bodies, **primitive.arguments(SPEC, values))
    for parameter in module.parameters():
        nn.init.ones_(parameter)  # the scale of what is added: a wiring tells what, not how much
    x = torch.randn(2, *SPEC.shape, generator=torch.Generator().manual_seed(1))
    plan = wiring(symbol, values, count)
    assert len(plan.entries) == count
    torch.testing.assert_close(module(x), followed(plan, bodies, x))


def test_what_is_not_listed_is_side_by_side():
    plan = wiring("of_another_package", {"join": "maximum", "split": "group2"}, 3)
    assert plan.is_parallel
    assert (plan.split, plan.joints[0].name, plan.entries) == ("group2", "maximum", (SPLIT,) * 3)
    assert wiring("of_another_package", {}, 1).joints[0].name == "of_another_package"


def test_only_what_is_side_by_side_may_be_counted():
    assert wiring("branch", {"join": "add"}, 2).is_parallel
    assert not wiring("residual", {}, 1).is_parallel
    assert not wiring("dag", {}, 3).is_parallel
