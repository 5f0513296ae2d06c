"""Layer norm and RMS norm: the plain versions, the choice of backend, errors, blocks.

Their Triton kernels are tested in `catalogue_interpreted.py` and `norm_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kernels.norm import layer_norm, rms_norm
from kernels.norm_blocks import MOST_COLUMNS, blocks_for

X, VECTOR = torch.zeros(2, 3, 4), torch.zeros(4)


def test_layer_norm_is_torchs():
    x, weight, bias = torch.randn(3, 5, 7), torch.randn(7), torch.randn(7)
    wanted = functional.layer_norm(x, (7,), weight, bias, 1e-3)
    torch.testing.assert_close(layer_norm(x, weight, bias, eps=1e-3), wanted)


def test_rms_norm_is_torchs():
    x, weight = torch.randn(3, 5, 7), torch.randn(7)
    wanted = functional.rms_norm(x, (7,), weight, 1e-3)
    torch.testing.assert_close(rms_norm(x, weight, eps=1e-3), wanted)


@pytest.mark.parametrize("norm", [layer_norm, rms_norm])
def test_channels_in_front_are_moved_and_put_back(norm):
    x, weight = torch.randn(2, 5, 3, 4), torch.randn(5)
    y = norm(x, weight, channel_dim=1)
    wanted = norm(x.permute(0, 2, 3, 1), weight).permute(0, 3, 1, 2)
    torch.testing.assert_close(y, wanted)


def test_values_are_float32_inside_even_under_autocast():
    # In bfloat16 the mean of the squares would be rounded to a multiple of 2^-8 of it.
    x = torch.linspace(1, 1.01, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer_norm(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, functional.layer_norm(x, (64,)))


def test_relu_follows_the_norm():
    y = layer_norm(torch.tensor([[-1.0, 1.0]]), activation="relu", eps=0)
    torch.testing.assert_close(y, torch.tensor([[0.0, 1.0]]))


@pytest.mark.parametrize("norm", [layer_norm, rms_norm])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_meta_device_has_the_shape(norm, dtype):
    y = norm(torch.empty(2, 3, 4, 5, device="meta", dtype=dtype), channel_dim=1)
    assert (y.shape, y.dtype, y.device.type) == ((2, 3, 4, 5), dtype, "meta")


def test_an_empty_batch_gives_an_empty_output():
    assert layer_norm(torch.zeros(0, 4)).shape == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((X.int(),), {}, r"floating-point.*got \[2, 3, 4\] int32"),
        ((torch.tensor(1.0),), {}, "at least one dimension"),
        ((X[..., :0],), {}, "at least one channel"),
        ((X, VECTOR[:3]), {}, r"weight must be \[4\].*got \[3\] for x \[2, 3, 4\]"),
        ((X, VECTOR, VECTOR[:1]), {}, r"bias must be \[4\]"),
        ((X, VECTOR.half()), {}, "weight must have the dtype and device of x"),
        ((X,), {"channel_dim": 0}, "channel_dim must be 1 or the last dimension"),
        ((X,), {"activation": "tanh"}, "none, relu, gelu, silu, .*; got 'tanh'"),
        ((X,), {"backend": "cuda"}, "auto, plain, triton; got 'cuda'"),
    ],
)
def test_faulty_arguments_say_what_must_hold(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        layer_norm(*arguments, **settings)


@pytest.mark.parametrize("norm", [layer_norm, rms_norm])
def test_forcing_triton_names_the_shape_and_what_is_served(norm):
    pytest.importorskip("triton")
    with pytest.raises(NotImplementedError, match=r"x \[2, 3, 4\] float32 on cpu.*8,?192 channels"):
        norm(X, backend="triton")


@pytest.mark.parametrize("operation", ["forward", "backward"])
@pytest.mark.parametrize("capability", [(0, 0), (8, 0), (9, 0), (12, 0)])
def test_every_row_fits_its_blocks(operation, capability):
    for columns in (1, 3, 16, 17, 1000, 4097, MOST_COLUMNS):
        blocks = blocks_for(operation, capability, columns)
        assert blocks.columns >= columns
        assert blocks.rows >= 1
