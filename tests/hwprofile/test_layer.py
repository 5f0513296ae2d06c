"""Layers of traces, the order in which they are measured, and the calls that run them."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from hwprofile.grid import layers_of_spaces, spread_order
from hwprofile.kernel_rows import SIZES
from hwprofile.layer import LAYER_SIZES, Layer, layer_of
from hwprofile.layer_calls import kernel_call, tensors_of, torch_call
from hwprofile.trace import trace


def layers(module: nn.Module, *shape: int) -> list[Layer | None]:
    return [layer_of(call) for call in trace(module, shape).calls if not call.view]


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Conv2d(8, 12, 1), (2, 8, 5, 5), Layer("gemm", (50, 12, 8))),
        (nn.Linear(8, 12), (2, 7, 8), Layer("gemm", (14, 12, 8))),
        (
            nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4),
            (2, 8, 9, 9),
            Layer("conv2d", (2, 8, 12, 3, 9, 2, 1, 4)),
        ),
        (
            nn.Conv2d(8, 8, 7, padding=3, groups=8),
            (2, 8, 9, 9),
            Layer("depthwise_conv2d", (2, 8, 7, 9, 1, 3)),
        ),
        (nn.LayerNorm(8), (2, 7, 8), Layer("layer_norm", (14, 8))),
        (nn.GELU(), (2, 8, 5, 5), Layer("gelu", (50, 8))),
        (nn.Softmax(-1), (2, 7, 8), Layer("softmax", (14, 8))),
        (nn.MaxPool2d(3, 2, 1), (2, 8, 9, 9), Layer("max_pool2d", (2, 8, 3, 9, 2, 1))),
        (nn.AvgPool2d(2), (2, 8, 8, 8), Layer("avg_pool2d", (2, 8, 2, 8, 2, 0))),
        (nn.AdaptiveAvgPool2d(1), (2, 8, 5, 5), Layer("global_avg_pool2d", (2, 8, 5))),
    ],
)
def test_a_traced_operation_is_a_layer(module, shape, expected):
    assert layers(module, *shape) == [expected]


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(8, 12, 3, dilation=2), (2, 8, 9, 9)),
        (nn.Conv2d(8, 12, (1, 5)), (2, 8, 9, 9)),
        (nn.Conv2d(8, 12, 3), (2, 8, 9, 7)),
        (nn.Softmax(1), (2, 7, 8)),
        (nn.AdaptiveAvgPool2d(2), (2, 8, 5, 5)),
    ],
)
def test_what_the_columns_cannot_say_is_no_layer(module, shape):
    assert layers(module, *shape) == [None]


def test_columns_are_those_of_tables_of_kernels():
    for op, names in LAYER_SIZES.items():
        assert set(SIZES[op]) <= set(names) <= {*SIZES[op], "groups"}


def test_the_batch_multiplies_what_is_computed():
    layer = Layer("conv2d", (1, 8, 12, 3, 9, 2, 1, 4))
    assert layer.at_batch(4).named == {**layer.named, "b": 4}
    assert Layer("gemm", (50, 12, 8)).at_batch(4).sizes == (200, 12, 8)


def test_every_beginning_of_the_order_is_spread():
    grid = [Layer("gemm", (2**i, 2**j, 64)) for i, j in itertools.product(range(8), repeat=2)]
    order = spread_order([*grid, Layer("relu", (1, 64))])
    assert sorted(order) == sorted([*grid, Layer("relu", (1, 64))])
    assert order.index(Layer("relu", (1, 64))) < 10
    points = np.log2([layer.sizes[:2] for layer in order if layer.op == "gemm"])
    gaps = [
        max(min(math.dist(p, q) for q in points[:taken]) for p in points) for taken in (1, 5, 20)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[1] < 5  # five of a square of side 7 reach its corners


def test_the_order_depends_on_nothing_but_the_layers():
    grid = [Layer("gemm", (2**i, 3 * i + 1, 64)) for i in range(12)]
    assert spread_order(reversed(grid)) == spread_order(grid)


def test_layers_of_a_space_are_drawn_by_the_seed():
    found = layers_of_spaces(["nasbench201"], samples=1, seed=3)
    assert found == layers_of_spaces(["nasbench201"], samples=1, seed=3)
    assert {"conv2d", "relu"} <= {layer.op for layer in found}


_SMALL = (
    Layer("gemm", (5, 7, 6)),
    Layer("bmm", (3, 5, 7, 6)),
    Layer("attention", (3, 5, 8, 7)),
    Layer("conv2d", (2, 4, 6, 3, 7, 2, 1, 1)),
    Layer("conv2d", (2, 4, 6, 3, 7, 2, 1, 2)),
    Layer("depthwise_conv2d", (2, 4, 5, 7, 2, 2)),
    Layer("max_pool2d", (2, 4, 3, 7, 2, 1)),
    Layer("avg_pool2d", (2, 4, 3, 7, 2, 1)),
    Layer("global_avg_pool2d", (2, 4, 7)),
    *(Layer(op, (5, 8)) for op, names in LAYER_SIZES.items() if names == ("b", "h")),
)


def test_the_small_layers_are_all_there_are():
    assert {layer.op for layer in _SMALL} == set(LAYER_SIZES)


@pytest.mark.parametrize("layer", _SMALL, ids=lambda layer: layer.op)
def test_the_kernels_compute_what_torch_does(layer):
    tensors = tensors_of(layer, torch.float32, "cpu", 0)
    by_torch = torch_call(layer, tensors)()
    call = kernel_call(layer, tensors, backend="plain")
    if call is not None:
        own = call()
        torch.testing.assert_close(own, by_torch.reshape(own.shape), rtol=1e-4, atol=1e-5)


def test_only_what_no_operation_does_has_no_kernel():
    without = {
        layer.op
        for layer in _SMALL
        if kernel_call(layer, tensors_of(layer, torch.float32, "cpu", 0)) is None
    }
    assert without == {"bmm", "conv2d", "softmax", "mul", "sigmoid", "hardswish", "tanh"}
