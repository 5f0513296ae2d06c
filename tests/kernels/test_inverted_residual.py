"""The plain inverted-residual block, the choice of a backend, the errors and the cuts.

The Triton kernel is tested in `catalogue_interpreted.py` and `inverted_residual_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kernels.inverted_residual import inverted_residual
from kernels.inverted_residual_blocks import MOST_HALO, MOST_PROGRAMS, block_plan


def block(kernel: int = 3, stride: int = 1, columns: int = 4) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(4, 6, 1),
        nn.SiLU(),
        nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6),
        nn.SiLU(),
        nn.Conv2d(6, columns, 1),
    )


def weights(modules: nn.Sequential) -> list[Tensor]:
    return [tensor for i in (0, 2, 4) for tensor in modules[i].parameters()]


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2), (9, 3)])
def test_it_is_three_convolutions(kernel, stride):
    modules, x = block(kernel, stride), torch.randn(2, 4, 7, 6)
    y = inverted_residual(x, *weights(modules), stride=stride, activation="silu")
    torch.testing.assert_close(y, modules(x))


def test_the_input_may_be_added():
    modules, x = block(), torch.randn(2, 4, 5, 5)
    y = inverted_residual(x, *weights(modules), activation="silu", residual=True)
    torch.testing.assert_close(y, modules(x) + x)


def test_the_meta_device_has_the_shape():
    tensors = [tensor.to("meta", torch.bfloat16) for tensor in weights(block(5, 2, 3))]
    x = torch.empty(2, 4, 7, 8, device="meta", dtype=torch.bfloat16)
    y = inverted_residual(x, *tensors, stride=2)
    assert (y.shape, y.dtype, y.device.type) == ((2, 3, 4, 4), torch.bfloat16, "meta")


X = torch.zeros(1, 4, 5, 5)
WEIGHTS = weights(block().requires_grad_(False))


def changed(place: int, tensor: Tensor) -> list[Tensor]:
    return [*WEIGHTS[:place], tensor, *WEIGHTS[place + 1 :]]


@pytest.mark.parametrize(
    ("x", "tensors", "settings", "message"),
    [
        (X[0], WEIGHTS, {}, r"A single image needs x\[None\]"),
        (X.int(), WEIGHTS, {}, "floating-point"),
        (X[:, :3], WEIGHTS, {}, r"expand_weight must be \[6, 3, 1, 1\]"),
        (X, changed(1, torch.zeros(5)), {}, r"expand_bias must be \[6\].*got \[5\]"),
        (X, changed(2, torch.zeros(6, 6, 3, 3)), {}, r"depthwise_weight must be \[6, 1, 3, 3\]"),
        (X, changed(2, torch.zeros(6, 1, 4, 4)), {}, "odd size; got 4"),
        (X, changed(4, torch.zeros(4, 5, 1, 1)), {}, r"project_weight must be \[4, 6, 1, 1\]"),
        (X, changed(5, WEIGHTS[5].half()), {}, "project_bias must have the dtype and device of x"),
        (X, WEIGHTS, {"stride": 0}, "stride must be at least 1"),
        (X, WEIGHTS, {"stride": 2, "residual": True}, "residual wants stride 1"),
        (X, WEIGHTS, {"activation": "tanh"}, "got 'tanh'"),
        (X, WEIGHTS, {"backend": "cuda"}, "got 'cuda'"),
    ],
)
def test_faulty_arguments_say_what_must_hold(x, tensors, settings, message):
    with pytest.raises(ValueError, match=message):
        inverted_residual(x, *tensors, **settings)


def test_forcing_triton_names_the_shapes_and_what_is_served():
    pytest.importorskip("triton")
    with pytest.raises(
        NotImplementedError, match=r"x \[1, 4, 5, 5\] float32 on cpu with depthwise"
    ):
        inverted_residual(X, *WEIGHTS, backend="triton")


@pytest.mark.parametrize("bytes_each", [2, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("shape", [(1, 7, 7), (64, 112, 112)])
def test_every_device_and_shape_has_a_plan(bytes_each, stride, kernel, shape):
    for capability in ((0, 0), (8, 0), (9, 0)):
        plan = block_plan(capability, bytes_each, shape, (24, 144), kernel, stride)
        seen = ((plan.blocks.tile_rows - 1) * stride + kernel) * (
            (plan.blocks.tile_columns - 1) * stride + kernel
        )
        assert seen <= plan.halo <= MOST_HALO
        assert plan.splits * plan.split_expanded >= 144
        assert 1 <= plan.programs <= MOST_PROGRAMS
