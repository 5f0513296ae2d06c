"""What cases do not say of the Triton pools; run by `test_in_interpreter.py`."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kernels import pool_triton
from kernels.global_pool import gem_pool, global_average_pool
from kernels.pool import average_pool2d, max_pool2d
from kernels.pool_blocks import Blocks


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_layout_is_kept(layout):
    x = torch.randn(2, 3, 6, 5).contiguous(memory_format=layout)
    assert max_pool2d(x, 2, backend="triton").is_contiguous(memory_format=layout)


def test_the_gradient_of_a_maximum_goes_to_the_first_of_equals():
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    max_pool2d(x, 2, backend="triton").sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1, 0, 0, 0]


def test_a_nan_beats_infinity_and_takes_the_gradient():
    values = [float("inf"), float("nan"), 1.0, float("inf")]
    x = torch.tensor(values).view(1, 1, 2, 2).requires_grad_()
    y = max_pool2d(x, 2, backend="triton")
    y.backward(torch.ones_like(y))
    assert y.isnan().all()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0, 1, 0, 0]


def test_a_map_of_nothing_but_minus_infinity_stays_so():
    x = torch.full((1, 1, 2, 2), -float("inf"))
    assert max_pool2d(x, 2, backend="triton").item() == -float("inf")


def test_images_past_two_to_the_31_elements():
    """The stride of an image is 2^30 elements: the third starts past 32-bit offsets."""
    stride = 2**30
    memory = torch.empty(2 * stride + 9, dtype=torch.float16)  # Only the pages used take memory.
    images = memory.as_strided((3, 1, 3, 3), (stride, 9, 3, 1))
    images.copy_(torch.randn(3, 1, 3, 3))
    y = torch.empty(3, dtype=torch.float16)
    window = pool_triton.Window(maximum=True, kernel=3, stride=1, padding=0, count_include_pad=True)
    blocks = Blocks(pixels=1, channels=1, warps=1)
    pool_triton.pool_forward_kernel[(3,)](
        *(memory, y, y, stride, 1, 3, 3, 1, 1, 1), **window.constants(True, blocks), SAVE_TAP=False
    )
    torch.testing.assert_close(y, functional.max_pool2d(images, 3).flatten())


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (torch.zeros(0, 3, 4, 4), "empty tensor"),
        (torch.zeros(2, 3, 4, 4).double(), "dtype"),
        (torch.zeros(1, 1, 1, 1).expand(1, 1, 2**16, 2**15), "2\\^31 or more elements"),
    ],
)
def test_what_is_not_served_is_refused(x, reason):
    for run in (
        lambda: max_pool2d(x, 2, backend="triton"),
        lambda: average_pool2d(x, 2, backend="triton"),
        lambda: global_average_pool(x, backend="triton"),
        lambda: gem_pool(x, torch.ones(1, dtype=x.dtype), backend="triton"),
    ):
        with pytest.raises(NotImplementedError, match=reason):
            run()
