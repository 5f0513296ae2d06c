"""The plain Inception depthwise convolution, and the errors; its kernel is in the catalogue."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernels.inception_depthwise import inception_depthwise_conv2d
from kernels.inception_depthwise_blocks import launch_for


def test_plain_is_the_published_module():
    """As InceptionNeXt builds it: split, three convolutions of an eighth each, concatenation."""
    channels, group = 16, 2
    square = nn.Conv2d(group, group, 3, padding=1, groups=group)
    row = nn.Conv2d(group, group, (1, 11), padding=(0, 5), groups=group)
    column = nn.Conv2d(group, group, (11, 1), padding=(5, 0), groups=group)
    x = torch.randn(2, channels, 6, 7, generator=torch.Generator().manual_seed(0))
    same, *parts = torch.split(x, [channels - 3 * group, group, group, group], dim=1)
    convolutions = (square, row, column)
    wanted = [same, *(conv(part) for conv, part in zip(convolutions, parts, strict=True))]
    y = inception_depthwise_conv2d(
        x, *(conv.weight for conv in convolutions), *(conv.bias for conv in convolutions)
    )
    torch.testing.assert_close(y, torch.cat(wanted, dim=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_meta_device_has_the_shape(dtype):
    def empty(*size: int) -> torch.Tensor:
        return torch.empty(size, dtype=dtype, device="meta")

    x = empty(2, 8, 5, 4)
    y = inception_depthwise_conv2d(x, empty(2, 1, 3, 3), empty(2, 1, 1, 5), empty(2, 1, 5, 1))
    assert (y.shape, y.dtype) == (x.shape, dtype)


def test_a_small_map_is_cut_into_more_programs():
    shape, taps = (1, 384, 14, 14), (3, 11)
    few = launch_for(shape, 48, taps, channels_last=True)
    assert few.programs > launch_for(shape, 48, taps, channels_last=True, few=0).programs


X = torch.zeros(1, 8, 4, 4)
SQUARE, ROW, COLUMN = torch.zeros(2, 1, 3, 3), torch.zeros(2, 1, 1, 5), torch.zeros(2, 1, 5, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[0], SQUARE, ROW, COLUMN), r"A single image needs x\[None\]"),
        ((X[:, :5], SQUARE, ROW, COLUMN), "a third of the channels"),
        ((X, SQUARE, COLUMN, COLUMN), r"row_weight must be \[2, 1, 1, 1\]"),
        ((X, SQUARE, ROW, ROW), r"column_weight must be \[2, 1, 5, 1\].*got \[2, 1, 1, 5\]"),
        ((X, torch.zeros(2, 1, 4, 4), ROW, COLUMN), "odd sizes up to 31"),
        ((X, SQUARE, ROW, COLUMN, torch.zeros(3)), r"square_bias must be \[2\]; got \[3\]"),
        ((X, SQUARE, ROW.half(), COLUMN), "row_weight must have the dtype and device of x"),
    ],
)
def test_faulty_arguments_say_what_must_hold(arguments, message):
    with pytest.raises(ValueError, match=message):
        inception_depthwise_conv2d(*arguments)


def test_forcing_triton_names_the_shapes_and_what_is_served():
    with pytest.raises(
        NotImplementedError, match=r"\[1, 8, 4, 4\] float32 on cpu.*serves non-empty"
    ):
        inception_depthwise_conv2d(X, SQUARE, ROW, COLUMN, backend="triton")


def test_an_empty_batch_gives_an_empty_output():
    assert inception_depthwise_conv2d(X[:0], SQUARE, ROW, COLUMN).shape == (0, 8, 4, 4)
