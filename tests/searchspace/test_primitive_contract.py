"""Every shipped primitive against the contract, and the contract against what breaks it."""

import pytest
import torch
from torch import nn

from nas.testing.primitives import PrimitiveContract
from searchspace.primitives import PRIMITIVES
from searchspace.primitives.base import Primitive
from searchspace.shapes import ShapeError


class TestShipped(PrimitiveContract):
    @pytest.fixture(params=sorted(PRIMITIVES))
    def primitive(self, request):
        return PRIMITIVES[request.param]


class Doubled(nn.Module):
    """A foreign module."""

    def forward(self, x):
        return x * 2


class InPlace(nn.Module):
    def forward(self, x):
        return x.mul_(2)


class Mixing(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


class Typed(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.ones(1))

    def forward(self, x):
        return x.float() + self.table.float()


def _foreign(module, **changes) -> Primitive:
    return Primitive(
        name="foreign", summary="", module=module, arguments=lambda spec, v: {}, **changes
    )


class TestForeign(PrimitiveContract):
    @pytest.fixture
    def primitive(self):
        return _foreign(Doubled)


def _served(primitive):
    contract = PrimitiveContract()
    return contract, PrimitiveContract.served.__wrapped__(contract, primitive)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (InPlace, "test_the_input_is_left_alone"),
        (Mixing, "test_samples_do_not_mix"),
        (Typed, "test_keeps_the_element_type"),
    ],
)
def test_the_contract_finds_what_breaks_it(module, name):
    contract, served = _served(_foreign(module))
    with pytest.raises(AssertionError):
        getattr(contract, name)(served)


def test_the_contract_finds_wrong_shape_rules_and_mute_refusals():
    contract = PrimitiveContract()
    wrong = _foreign(Doubled, result=lambda spec, v, inner: spec.with_channels(7))
    with pytest.raises(AssertionError):
        contract.test_shape_rule_agrees_with_the_module(wrong)

    def refuse(spec, values, inner):
        raise ShapeError("no")

    with pytest.raises(AssertionError):
        contract.test_refuses_by_a_sentence(_foreign(Doubled, result=refuse))


def test_the_contract_finds_a_total_primitive_that_refuses():
    def images_only(spec, values, inner):
        if spec.mode != "image":
            raise ShapeError(f"an image is needed; got {spec}")
        return spec

    contract = PrimitiveContract()
    contract.test_a_total_primitive_serves_everything(_foreign(Doubled, total=True))
    with pytest.raises(ShapeError):
        contract.test_a_total_primitive_serves_everything(
            _foreign(Doubled, result=images_only, total=True)
        )
