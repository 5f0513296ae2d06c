"""Products bound as a launch binds them, and compiled, without a GPU: nothing is run.

A launch makes a constant of every integer that is 1, which compiling from a signature does not.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="Triton has wheels for Linux only")

import triton
from triton.backends.compiler import GPUTarget

from kernels import (
    dense_conv_triton,
    epilogue_triton,
    gemm_triton,
    int8_triton,
    inverted_residual_triton,
    w4_gemm_triton,
)


class _Driver:
    """What a launch asks of the driver before it starts anything."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 80, 32)

    def get_current_device(self) -> int:
        # No real device: what is compiled here must not be found by a launch.
        return 99

    def get_current_stream(self, _: int) -> int:
        return 0


@pytest.fixture
def launched(monkeypatch):
    """Compile for an A100 what would be launched, and count it."""
    names: list[str] = []

    def compile_only(
        kernel: Any,
        programs: int,
        arguments: tuple[Any, ...],
        constants: dict[str, Any],
        *,
        warps: int,
        stages: int = 3,
    ) -> None:
        options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
        kernel.warmup(*arguments, grid=(programs,), **constants, **options)
        names.append(kernel.__name__)

    for module in (
        *(dense_conv_triton, epilogue_triton, gemm_triton),
        *(inverted_residual_triton, w4_gemm_triton),
    ):
        monkeypatch.setattr(module, "launch", compile_only)
        if hasattr(module, "capability"):
            monkeypatch.setattr(module, "capability", lambda _: (8, 0))
    # Setting it properly could not be undone where there is no GPU.
    monkeypatch.setattr(triton.runtime.driver, "_active", _Driver())
    return names


def half(*size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.float16)


def int8(*size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.int8)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2048, 1)])
def test_products_of_ones(launched, shape):
    rows, inner, columns = shape
    x, weight = half(rows, inner).requires_grad_(), half(columns, inner).requires_grad_()
    gemm_triton.gemm_triton(x, weight, half(columns), None, activation="relu").sum().backward()
    assert launched.count("gemm_kernel") == 3


@pytest.mark.parametrize(("channels", "kernel"), [(1, 1), (512, 3)])
def test_convolutions_of_ones(launched, channels, kernel):
    x, weight = int8(1, channels, 1, 1), int8(1, channels, kernel, kernel)
    one = torch.ones(1)
    int8_triton.int8_conv2d_triton(
        *(x, weight, one, one, one),
        **{"stride": 1, "padding": kernel // 2, "dilation": 1, "dtype": torch.float16},
        **{"x_zero_point": 1, "weight_sum": None, "y_scale": 1.0, "y_zero_point": 1},
        activation="none",
    )
    assert "dense_conv_kernel" in launched


@pytest.mark.parametrize("inner", [1, 4096])
def test_4_bit_products_of_ones(launched, inner):
    packed = torch.zeros(1, 16 * -(-inner // 128), dtype=torch.int32)
    zero = torch.zeros(1, 1, dtype=torch.uint8)
    w4_gemm_triton.w4_gemm_triton(
        *(half(1, inner), packed, half(1, 1), zero, None, None), activation="none"
    )
    assert "w4_gemm_kernel" in launched


@pytest.mark.parametrize("expanded", [1, 65])
def test_residual_blocks_of_ones(launched, expanded):
    inverted_residual_triton.inverted_residual_triton(
        *(half(1, 1, 1, 1), half(expanded, 1, 1, 1), half(expanded), half(expanded, 1, 3, 3)),
        *(half(expanded), half(1, expanded, 1, 1), half(1)),
        **{"stride": 1, "activation": "relu", "residual": True},
    )
    assert "inverted_residual_kernel" in launched
