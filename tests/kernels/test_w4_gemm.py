"""Packing 4-bit weights, the plain product, the choice of a backend, the errors and the cuts.

The Triton kernel is tested in `catalogue_interpreted.py` and `w4_gemm_interpreted.py`.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kernels.w4_gemm import pack_w4, unpack_w4, w4_gemm
from kernels.w4_gemm_blocks import w4_plan


@pytest.mark.parametrize("inner", [1, 31, 128, 129, 192])
def test_unpacking_undoes_packing(inner):
    steps = torch.randint(0, 16, (5, inner), dtype=torch.uint8)
    packed = pack_w4(steps)
    assert packed.shape == (5, 16 * -(-inner // 128))
    assert torch.equal(unpack_w4(packed, inner), steps)


def test_the_layout_is_as_described():
    steps = torch.zeros(1, 256, dtype=torch.uint8)
    steps[0, 128 + 32 * 3 + 16 * 1 + 5] = 15
    packed = pack_w4(steps)[0]
    assert packed.nonzero().flatten().tolist() == [16 + 5]
    assert packed[16 + 5].item() == -(2**28)


@pytest.mark.parametrize(("groups", "has_zero"), [(1, True), (4, True), (4, False), (1, False)])
def test_a_weight_is_scale_times_step_less_zero(groups, has_zero):
    steps = torch.randint(0, 16, (3, 128), dtype=torch.uint8)
    scale = torch.rand(groups, 3)
    zero = torch.randint(0, 16, (groups, 3), dtype=torch.uint8) if has_zero else None
    middle = 8.0 if zero is None else zero.t().repeat_interleave(128 // groups, 1)
    weight = scale.t().repeat_interleave(128 // groups, 1) * (steps.float() - middle)
    x, bias, residual = torch.randn(2, 4, 128), torch.randn(3), torch.randn(2, 4, 3)
    y = w4_gemm(x, pack_w4(steps), scale, zero, bias, residual, activation="silu")
    wanted = functional.silu(functional.linear(x, weight, bias)) + residual
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-4)


def test_the_meta_device_has_the_shape():
    packed = pack_w4(torch.empty(5, 192, device="meta", dtype=torch.uint8))
    scale = torch.empty(6, 5, device="meta", dtype=torch.bfloat16)
    y = w4_gemm(torch.empty(2, 3, 192, device="meta", dtype=torch.bfloat16), packed, scale)
    assert (y.shape, y.dtype, y.device.type) == ((2, 3, 5), torch.bfloat16, "meta")


def test_no_rows_give_an_empty_output():
    packed = torch.zeros(2, 16, dtype=torch.int32)
    assert w4_gemm(torch.zeros(0, 3), packed, torch.zeros(1, 2)).shape == (0, 2)


X, PACKED, SCALE = torch.zeros(2, 96), torch.zeros(3, 16, dtype=torch.int32), torch.zeros(3, 3)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((X.int(), PACKED, SCALE), {}, "floating-point"),
        ((X, PACKED[:, :8], SCALE), {}, r"\[N, 16\] in int32, from pack_w4 of a weight \[N, 96\]"),
        ((X, PACKED.float(), SCALE), {}, "in int32"),
        ((X, PACKED, SCALE[:2]), {}, r"G in \[1, 3\].*96 inner elements; got \[2, 3\]"),
        ((X, PACKED, SCALE.half()), {}, "scale must have the dtype and device of x"),
        ((X, PACKED, SCALE, SCALE), {}, r"zero must be \[3, 3\] in uint8"),
        ((X, PACKED, SCALE, None, X), {}, r"bias must be \[3\]"),
        ((X, PACKED, SCALE, None, None, X), {}, r"residual must be \[2, 3\]"),
        ((X, PACKED.to("meta"), SCALE), {}, "packed must be on the device of x"),
        ((X, PACKED, SCALE), {"activation": "tanh"}, "got 'tanh'"),
        ((X, PACKED, SCALE), {"backend": "cuda"}, "got 'cuda'"),
    ],
)
def test_faulty_arguments_say_what_must_hold(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        w4_gemm(*arguments, **settings)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (torch.full((1, 2), 16, dtype=torch.uint8), "from 0 to 15; the largest is 16"),
        (torch.zeros(2, 2), "uint8"),
        (torch.zeros(0, 2, dtype=torch.uint8), "non-empty"),
    ],
)
def test_what_cannot_be_packed_is_refused(steps, message):
    with pytest.raises(ValueError, match=message):
        pack_w4(steps)


def test_forcing_triton_names_the_shapes_and_what_is_served():
    pytest.importorskip("triton")
    with pytest.raises(NotImplementedError, match=r"x \[2, 96\] float32 on cpu with packed"):
        w4_gemm(X, PACKED, SCALE, backend="triton")


@pytest.mark.parametrize("rows", [1, 16, 17, 64, 65, 10**6])
@pytest.mark.parametrize(("columns", "inner"), [(1, 1), (4096, 4096), (576, 192)])
def test_the_splits_cover_the_inner_dimension_once(rows, columns, inner):
    plan = w4_plan((8, 0), rows, columns, inner)
    assert (plan.splits - 1) * plan.split_inner < inner <= plan.splits * plan.split_inner


def test_few_rows_take_low_blocks_on_every_device():
    for capability in ((8, 0), (9, 0), (12, 0)):
        heights = [w4_plan(capability, rows, 4096, 4096).blocks.rows for rows in (1, 64, 4096)]
        assert heights == sorted(heights)
        assert heights[0] == 16
