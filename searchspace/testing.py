"""What every primitive must do, as tests to inherit; they need pytest.

A primitive's author writes, in a file that pytest collects::

    from searchspace.testing import PrimitiveContract

    class TestMine(PrimitiveContract):
        @pytest.fixture
        def primitive(self):
            return MINE

`nas.testing.primitives` holds a suite that adds tracing, pricing and export to these tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice, product
from math import prod

import pytest
import torch
from torch import Tensor, nn

from searchspace.build import Call, calls, module_of
from searchspace.primitives.base import Parameter, Primitive
from searchspace.shapes import ShapeError, TensorSpec, image, vector
from searchspace.tree import Node, Value
from searchspace.tree import primitive as node_of

SPECS = (
    image(16, 5, 6),
    image(24, 8, 7),
    image(6, 1, 9),
    image(3, 1, 1),
    vector(16),
    vector(3),
    TensorSpec("tokens", (12, 16)),
    TensorSpec("tokens", (5, 24)),
    TensorSpec("tokens", (16, 8)),
    TensorSpec("tokens", (17, 4)),
    TensorSpec("tokens", (1, 3)),
)
"""Inputs on which primitives are tried."""
_COMBINATIONS = 12
"""Most combinations of scalar arguments that are tried on one input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One primitive with its arguments, on an input that it serves."""

    primitive: Primitive
    """What is tried."""
    values: tuple[Value, ...]
    """Scalar arguments."""
    spec: TensorSpec
    """Input."""
    out: TensorSpec
    """Output, as the shape rule has it."""

    @property
    def node(self) -> Node:
        """The tree of the primitive alone."""
        return node_of(self.primitive.name, *self.values, children=_bodies(self.primitive))

    def build(self, *, merged: bool = False) -> nn.Module:
        """The module, freshly initialised."""
        named = self.primitive.named(self.values)
        within = self.primitive.inside(self.spec, named)
        bodies = tuple(calls(body, within)[0] for body in _bodies(self.primitive))
        bodies *= self.primitive.copies(named)
        call = Call(self.primitive, self.primitive.arguments(self.spec, named), bodies)
        return module_of(call, merged=merged)

    def input(self, seed: int = 0) -> Tensor:
        """A batch of two."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(2, *self.spec.shape, generator=generator)


def _bodies(primitive: Primitive) -> tuple[tuple[Node, ...], ...]:
    """Sequence arguments that serve every mode: an offset for each channel."""
    return ((node_of("bias"),),) * abs(primitive.groups)


def allowed(parameter: Parameter) -> tuple[Value, ...]:
    """A few values that a parameter may have: all words, small and larger integers."""
    some = parameter.words or parameter.choices or (1, 2, 3, 4, 8, parameter.least)
    return tuple(dict.fromkeys(v for v in some if parameter.fault(v) is None))


def attempts(primitive: Primitive) -> Iterator[tuple[tuple[Value, ...], TensorSpec]]:
    """Scalar arguments and inputs to try, whether or not they are served."""
    for spec in SPECS:
        options = [allowed(parameter) for parameter in primitive.parameters]
        total = prod(map(len, options))
        for index in range(0, total, -(-total // _COMBINATIONS)):
            yield _combination(options, index), spec


def _combination(options: Sequence[tuple[Value, ...]], index: int) -> tuple[Value, ...]:
    """One of all combinations by its index, the last option changing fastest."""
    values = []
    for some in reversed(options):
        index, place = divmod(index, len(some))
        values.append(some[place])
    return tuple(reversed(values))


def _out(primitive: Primitive, values: tuple[Value, ...], spec: TensorSpec) -> TensorSpec:
    """Output spec with `_bodies`, which keep theirs.

    Raises:
        ShapeError: the primitive does not serve the input.
    """
    named = primitive.named(values)
    within = primitive.inside(spec, named)
    return primitive.result(spec, named, [within] * abs(primitive.groups))


def _served(
    primitive: Primitive, values: tuple[Value, ...], spec: TensorSpec
) -> tuple[TensorSpec, TensorSpec, int] | None:
    """What enters the bodies, what leaves, and the number of copies; None: not served."""
    named = primitive.named(values)
    try:
        return (
            primitive.inside(spec, named),
            _out(primitive, values, spec),
            primitive.copies(named),
        )
    except ShapeError:
        return None


def examples(primitive: Primitive) -> Iterator[Example]:
    """What the primitive serves among `attempts`."""
    for values, spec in attempts(primitive):
        try:
            out = _out(primitive, values, spec)
        except ShapeError:
            continue
        yield Example(primitive=primitive, values=values, spec=spec, out=out)


def _lively(module: nn.Module) -> nn.Module:
    """The module with parameters that matter: scales of 1e-6 would hide faults."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.rand(parameter.shape, generator=generator))
    return module


def _channels_last(module: nn.Module) -> nn.Module:
    # Torch's stubs lack this overload for modules.
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class PrimitiveContract:
    """Inherit, give the fixture `primitive`, and pytest runs the rest.

    A module may be built and run by several threads at once, one module by one thread. It must not
    keep anything of one forward for the next, except running statistics while in training.
    """

    MOST = 6
    """Served examples that the slower tests look at."""

    @pytest.fixture
    def primitive(self) -> Primitive:
        """The primitive under test."""
        raise NotImplementedError("give the fixture 'primitive' in your class")

    @pytest.fixture
    def served(self, primitive: Primitive) -> Sequence[Example]:
        """Examples spread over all that the primitive serves."""
        found = list(examples(primitive))
        assert found, f"{primitive.name} serves none of {', '.join(map(str, SPECS))}"
        step = -(-len(found) // self.MOST)
        return list(islice(found, 0, None, step))

    def test_refuses_by_a_sentence(self, primitive: Primitive) -> None:
        """An input is served, or refused by a `ShapeError` that says what came."""
        for values, spec in attempts(primitive):
            try:
                out = _out(primitive, values, spec)
            except ShapeError as fault:
                text = str(fault)
                assert str(spec) in text, text
                assert any(word in text for word in ("need", "must")), text
            else:
                assert isinstance(out, TensorSpec)

    def test_a_total_primitive_serves_everything(self, primitive: Primitive) -> None:
        """`total` promises that no shape and no allowed argument is refused."""
        if not primitive.total:
            return
        assert primitive.groups == 0, "what a composite serves depends on its bodies"
        for spec, values in product(SPECS, product(*map(allowed, primitive.parameters))):
            primitive.result(spec, primitive.named(values), ())

    def test_parameters_that_do_not_bear_on_shapes_do_not(self, primitive: Primitive) -> None:
        """`Parameter.shapes` False promises that what is served, and what leaves, never change."""
        idle = set(range(len(primitive.parameters))) - primitive.bearing
        for values, spec in attempts(primitive):
            expected = _served(primitive, values, spec)
            for index in idle:
                for value in allowed(primitive.parameters[index]):
                    other = (*values[:index], value, *values[index + 1 :])
                    assert _served(primitive, other, spec) == expected, (values, other, spec)

    def test_shape_rule_agrees_with_the_module(self, primitive: Primitive) -> None:
        """On the meta device, on which nothing is computed and nothing may be looked at."""
        for example in examples(primitive):
            with torch.device("meta"):
                y = example.build().eval()(torch.empty(2, *example.spec.shape))
            assert tuple(y.shape) == (2, *example.out.shape), example
            assert y.dtype == torch.float32

    def test_arguments_can_be_written_as_source(self, served: Sequence[Example]) -> None:
        """Constructor arguments are plain scalars."""
        for example in served:
            named = example.primitive.named(example.values)
            for value in example.primitive.arguments(example.spec, named).values():
                assert isinstance(value, bool | int | float | str)

    def test_runs_forward_and_backward_without_nan(self, served: Sequence[Example]) -> None:
        """In training and in evaluation, with finite gradients for all parameters."""
        for example in served:
            for training in (True, False):
                module = example.build().train(training)
                x = example.input().requires_grad_()
                y = module(x)
                y.square().sum().backward()
                assert y.isfinite().all(), example
                gradients = [x.grad, *(p.grad for p in module.parameters())]
                assert all(g is not None and g.isfinite().all() for g in gradients), example

    def test_samples_do_not_mix(self, served: Sequence[Example]) -> None:
        """In evaluation a sample's output is the same in any batch, and so it is twice."""
        for example in served:
            module, x = _lively(example.build()).eval(), example.input()
            with torch.inference_mode():
                both = module(x)
                assert torch.equal(module(x), both)
                torch.testing.assert_close(module(x[1:]), both[1:], rtol=1e-4, atol=1e-5)

    def test_the_input_is_left_alone(self, served: Sequence[Example]) -> None:
        """Others may read it too."""
        for example in served:
            x = example.input()
            example.build()(x)
            assert torch.equal(x, example.input())

    def test_keeps_the_element_type(self, served: Sequence[Example]) -> None:
        """Double and half precision: no type is written into the module."""
        for example in served:
            module = _lively(example.build()).eval()
            x = example.input()
            with torch.inference_mode():
                expected = module(x)
                precise = deepcopy(module).double()(x.double())
                rough = deepcopy(module).bfloat16()(x.bfloat16())
            assert precise.dtype == torch.float64
            torch.testing.assert_close(precise.float(), expected, rtol=1e-3, atol=1e-4)
            assert rough.dtype == torch.bfloat16

    def test_images_stay_channels_last(self, served: Sequence[Example]) -> None:
        """An image that is channels-last in memory comes out so, and with the same values."""
        for example in served:
            if (example.spec.mode, example.out.mode) != ("image", "image"):
                continue
            module, x = _lively(example.build()).eval(), example.input()
            with torch.inference_mode():
                expected = module(x)
                y = _channels_last(module)(x.contiguous(memory_format=torch.channels_last))
            assert y.is_contiguous(memory_format=torch.channels_last), example
            torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)

    def test_the_merged_form_computes_the_same(self, served: Sequence[Example]) -> None:
        """Where the form at inference differs: `merge` leads to it, and its weights fit."""
        for example in served:
            if not example.primitive.merged:
                continue
            module, x = _lively(example.build()).eval(), example.input()
            with torch.inference_mode():
                expected = module(x)
                merge = getattr(module, "merge", None)
                assert merge is not None, "a primitive with a merged form needs a method 'merge'"
                merge()
                merged = example.build(merged=True).eval()
                merged.load_state_dict(module.state_dict())
                torch.testing.assert_close(merged(x), expected, rtol=1e-4, atol=1e-4)
