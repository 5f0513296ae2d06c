"""The pools: plain versions, the choice of backend, errors, blocks.

Their Triton kernels are tested in `catalogue_interpreted.py` and `pool_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch

from kernels.global_pool import gem_pool, global_average_pool
from kernels.pool import average_pool2d, max_pool2d
from kernels.pool_blocks import blocks_for, splits_for

X = torch.zeros(2, 3, 5, 5)


def test_the_stride_is_the_window_unless_given():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert max_pool2d(x, 2).tolist() == [[[[5, 7], [13, 15]]]]
    assert average_pool2d(x, 2).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]


def test_padding_counts_in_a_mean_only_if_asked():
    x = torch.ones(1, 1, 3, 3)
    assert average_pool2d(x, 3, padding=1)[0, 0, 0, 0] == pytest.approx(4 / 9)
    assert average_pool2d(x, 3, padding=1, count_include_pad=False)[0, 0, 0, 0] == 1


@pytest.mark.parametrize("exponent", [1.0, 3.0, 100.0])
def test_gem_runs_from_the_mean_to_the_maximum(exponent):
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64) + 0.1
    y = gem_pool(x, torch.tensor([exponent], dtype=torch.float64))
    wanted = x.pow(exponent).mean((2, 3)).pow(1 / exponent)
    torch.testing.assert_close(y, wanted)
    assert torch.all(y >= x.mean((2, 3)) - 1e-9)
    assert torch.all(y <= x.amax((2, 3)))


def test_gem_has_gradients_of_input_and_exponent():
    x = (torch.rand(1, 2, 3, 3, dtype=torch.float64) + 0.1).requires_grad_()
    exponent = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gem_pool, (x, exponent))


def test_sums_are_float32():
    # A bfloat16 sum of ones would stop at 256.
    x = torch.ones(1, 1, 32, 32).bfloat16()
    assert global_average_pool(x).item() == 1
    assert average_pool2d(x, 32).item() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_meta_device_has_the_shape(dtype):
    x = torch.empty(2, 3, 7, 9, device="meta", dtype=dtype)
    exponent = torch.empty(1, device="meta", dtype=dtype)
    for y in (max_pool2d(x, 3, stride=2, padding=1), average_pool2d(x, 3, stride=2, padding=1)):
        assert (y.shape, y.dtype) == ((2, 3, 4, 5), dtype)
    for y in (global_average_pool(x), gem_pool(x, exponent)):
        assert (y.shape, y.dtype) == ((2, 3), dtype)


@pytest.mark.parametrize("pool", [max_pool2d, average_pool2d])
@pytest.mark.parametrize(
    ("x", "kernel", "settings", "message"),
    [
        (X[0], 2, {}, r"got \[3, 5, 5\] float32 on cpu. A single image needs x\[None\]"),
        (X.int(), 2, {}, "floating-point"),
        (X, 0, {}, "kernel and stride must be at least 1 pixel; got 0"),
        (X, 2, {"stride": 0}, "at least 1 pixel; got 2 and 0"),
        (X, 3, {"padding": 2}, "padding must be from 0 to half of the kernel, 1; got 2"),
        (X, 6, {}, r"a window of 6 must fit.*got x \[2, 3, 5, 5\]"),
        (X, 2, {"backend": "cuda"}, "auto, plain, triton; got 'cuda'"),
    ],
)
def test_faulty_windows_say_what_must_hold(pool, x, kernel, settings, message):
    with pytest.raises(ValueError, match=message):
        pool(x, kernel, **settings)


def test_faulty_exponents_say_what_must_hold():
    with pytest.raises(ValueError, match=r"one element; got \[2\]"):
        gem_pool(X, torch.ones(2))
    with pytest.raises(ValueError, match=r"eps must be above 0.*got 0"):
        gem_pool(X, torch.ones(1), eps=0)
    with pytest.raises(ValueError, match="exponent must have the dtype"):
        gem_pool(X, torch.ones(1).half())
    with pytest.raises(ValueError, match="floating-point"):
        global_average_pool(X[0])


def test_forcing_triton_names_the_shape_and_what_is_served():
    pytest.importorskip("triton")
    for run in (
        lambda: max_pool2d(X, 2, backend="triton"),
        lambda: global_average_pool(X, backend="triton"),
    ):
        with pytest.raises(NotImplementedError, match=r"x \[2, 3, 5, 5\].*capability 8.0"):
            run()


def test_reduction_parts_cover_every_pixel_once():
    for pixels in (1, 31, 32, 33, 3136, 50_176):
        for batch, channels in ((1, 1), (1, 64), (64, 2048)):
            blocks = blocks_for("global", (8, 0), True, channels, pixels)
            splits, per_split = splits_for(batch, channels, pixels, blocks)
            assert (splits - 1) * per_split < pixels <= splits * per_split
