"""The channel gates: plain versions, the choice of backend, errors, blocks.

Their Triton kernels are tested in `catalogue_interpreted.py` and `gate_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernels.gate import eca, squeeze_excite
from kernels.gate_blocks import blocks_for

X = torch.zeros(2, 3, 4, 4)
W1, B1, W2, B2 = torch.zeros(5, 3), torch.zeros(5), torch.zeros(3, 5), torch.zeros(3)


def test_squeeze_excite_is_two_convolutions_of_the_means():
    x = torch.randn(2, 3, 4, 5)
    squeeze, excite = nn.Conv2d(3, 5, 1), nn.Conv2d(5, 3, 1)
    wanted = x * excite(squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
    assert squeeze.bias is not None
    assert excite.bias is not None
    y = squeeze_excite(
        x, squeeze.weight.flatten(1), squeeze.bias, excite.weight.flatten(1), excite.bias
    )
    torch.testing.assert_close(y, wanted)


def test_eca_is_a_convolution_along_the_means():
    x = torch.randn(2, 7, 4, 5)
    conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    wanted = x * conv(x.mean((2, 3)).unsqueeze(1)).sigmoid().squeeze(1)[:, :, None, None]
    torch.testing.assert_close(eca(x, conv.weight.flatten()), wanted)


def test_gates_of_nothing_are_halves():
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(squeeze_excite(x, W1, B1, W2, B2), x / 2)
    torch.testing.assert_close(eca(x, torch.zeros(3)), x / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_meta_device_has_the_shape(dtype):
    x, *weights = (t.to("meta", dtype) for t in (X, W1, B1, W2, B2))
    for y in (squeeze_excite(x, *weights), eca(x, weights[1])):
        assert (y.shape, y.dtype, y.device.type) == ((2, 3, 4, 4), dtype, "meta")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[0], W1, B1, W2, B2), r"got \[3, 4, 4\].*A single image needs x\[None\]"),
        ((X, W1[..., None, None], B1, W2, B2), r"\[hidden, 3\].*needs .flatten\(1\)"),
        ((X, W1, B1[:1], W2, B2), r"squeeze_bias must be \[5\]; got \[1\]"),
        ((X, W1, B1, W2.T, B2), r"excite_weight must be \[3, 5\]; got \[5, 3\]"),
        ((X, W1, B1, W2, B1), r"excite_bias must be \[3\]"),
        ((X, W1.half(), B1, W2, B2), "squeeze_weight must have the dtype"),
    ],
)
def test_faulty_matrices_say_what_must_hold(arguments, message):
    with pytest.raises(ValueError, match=message):
        squeeze_excite(*arguments)


def test_faulty_taps_say_what_must_hold():
    with pytest.raises(ValueError, match=r"with K odd; got \[2\]"):
        eca(X, torch.zeros(2))
    with pytest.raises(ValueError, match=r"got \[1, 1, 3\].*needs .flatten"):
        eca(X, torch.zeros(1, 1, 3))


def test_forcing_triton_names_the_shape_and_what_is_served():
    pytest.importorskip("triton")
    for run in (
        lambda: squeeze_excite(X, W1, B1, W2, B2, backend="triton"),
        lambda: eca(X, torch.zeros(3), backend="triton"),
    ):
        with pytest.raises(NotImplementedError, match=r"x \[2, 3, 4, 4\].*256 hidden values"):
            run()


@pytest.mark.parametrize("operation", ["excite", "scale"])
def test_every_device_and_layout_has_blocks(operation):
    for capability in ((0, 0), (8, 0), (12, 0)):
        for channels_last in (False, True):
            for hidden in (1, 64, 65, 256):
                blocks = blocks_for(operation, capability, channels_last, hidden)
                assert min(blocks.pixels, blocks.channels) >= 1
