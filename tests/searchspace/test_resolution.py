"""Layers that decide the resolution, each against what it stands for."""

import pytest
import torch
from torch.nn import functional as F

from searchspace.build import flow
from searchspace.primitives.resolution import CeilMaxPool, PatchConv, Resize
from searchspace.shapes import ShapeError, image
from searchspace.tree import primitive


def test_a_patch_is_a_linear_map_of_its_pixels_alone():
    torch.manual_seed(0)
    layer, x = PatchConv(3, 5, 4), torch.randn(2, 3, 8, 12)
    y = layer(x)
    patch = x[:, :, 4:8, 8:12].flatten(1)
    torch.testing.assert_close(y[:, :, 1, 2], patch @ layer.conv.weight.flatten(1).T)


def test_patches_that_reach_beyond_the_image_see_zeros():
    torch.manual_seed(0)
    layer, x = PatchConv(2, 4, 2), torch.randn(1, 2, 5, 3)
    padded = F.pad(x, (0, 1, 0, 1))
    assert layer(x).shape == (1, 4, 3, 2)
    torch.testing.assert_close(layer(x), layer(padded))


def test_the_pool_begins_at_the_first_pixel_and_ends_beyond_the_last():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    # Windows of 3 from pixels 0 and 2; those from 2 reach one pixel beyond.
    assert CeilMaxPool(3, 2)(x).tolist() == [[[[10, 11], [14, 15]]]]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "out"), [(56, 3, 2, 28), (7, 3, 2, 3), (2, 3, 2, 1), (9, 2, 5, 2)]
)
def test_sizes_of_the_pool(size, kernel, stride, out):
    found = flow(primitive("ceil_max_pool", kernel, stride), image(1, size, size))
    assert found == image(1, out, out)
    assert CeilMaxPool(kernel, stride)(torch.zeros(1, 1, size, size)).shape == (1, 1, out, out)


def test_a_window_that_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="a window of 5 at stride 1 needs more pixels"):
        flow(primitive("ceil_max_pool", 5, 1), image(1, 3, 3))


@pytest.mark.parametrize(
    ("permille", "size"), [(1000, 224), (860, 192), (840, 188), (825, 184), (680, 152), (475, 106)]
)
def test_the_resolutions_of_tinynet(permille, size):
    assert flow(primitive("resize", permille), image(3, 224, 224)) == image(3, size, size)


def test_resizing_keeps_a_linear_ramp():
    """Half the size: each pixel lies in the middle of two."""
    ramp = torch.arange(8.0).expand(1, 1, 4, 8)
    assert Resize(2, 4)(ramp)[0, 0].tolist() == [[0.5, 2.5, 4.5, 6.5]] * 2
