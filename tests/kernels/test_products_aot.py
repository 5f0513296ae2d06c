"""What the matrix products compile to, without a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="Triton has wheels for Linux only")

from kernels.aot import compile_kernel
from kernels.catalogue import load_operation

ARCHITECTURES = {"sm_80": (8, 0), "sm_90": (9, 0)}
TENSOR_CORE = ("HMMA", "HGMMA", "IMMA", "IGMMA", "QGMMA")

H, F = torch.float16, torch.float32
# Operation, role, dtype, shape, settings: one of every kernel and every class of blocks.
COMPILED: dict[str, tuple[str, str, torch.dtype, tuple[int, ...], dict[str, Any]]] = {
    "large": ("gemm", "forward", H, (4096, 1024, 1024), {"activation": "gelu"}),
    "small": ("gemm", "input_grad", H, (256, 1024, 1024), {}),
    "few rows": ("gemm", "forward", H, (1, 1024, 1024), {}),
    "sum": ("gemm", "forward_sum", H, (1, 1024, 1024), {"activation": "gelu"}),
    "32 rows": ("gemm", "forward", H, (32, 1024, 1024), {}),
    "float32, large": ("gemm", "forward", F, (4096, 1024, 1024), {}),
    "float32, 32 rows": ("gemm", "input_grad", F, (32, 1024, 1024), {}),
    "float32, few rows": ("gemm", "forward", F, (1, 1024, 1024), {}),
    "int8, small": ("int8_gemm", "forward", H, (512, 1024, 1024), {"each_row": True}),
    "int8, 32 rows": ("int8_gemm", "forward", H, (32, 1024, 1024), {}),
    "int8, few rows": ("int8_gemm", "forward", H, (1, 1024, 1024), {}),
    "w4, 32 rows": ("w4_gemm", "forward", H, (32, 4096, 4096), {"group_size": 0, "zero": True}),
    "float32": ("gemm", "weight_grad", F, (4096, 1024, 1024), {}),
    "conv": ("dense_conv", "forward", H, (64, 128, 28, 28), {"columns": 128}),
    "int8": ("int8_gemm", "forward", torch.int8, (4096, 1024, 1024), {"zero_point": True}),
    "int8 conv": ("int8_conv", "forward", H, (64, 128, 28, 28), {"columns": 128}),
    "fp8": ("fp8_gemm", "forward", H, (256, 1024, 1024), {"each_row": True}),
    "w4": ("w4_gemm", "forward", torch.bfloat16, (1, 4096, 4096), {"zero": True}),
    "w4 large": ("w4_gemm", "forward", H, (4096, 4096, 4096), {"group_size": 32}),
    "residual": ("inverted_residual", "forward", H, (64, 32, 56, 56), {"columns": 128}),
    "stem": ("dense_conv", "forward", H, (8, 3, 224, 224), {"kernel": 7, "stride": 2}),
}


@pytest.mark.parametrize(
    ("name", "architecture"),
    [(name, a) for name in COMPILED for a in ARCHITECTURES if (name, a) != ("fp8", "sm_80")],
)
def test_it_compiles_without_spills(name, architecture):
    operation, role, dtype, shape, settings = COMPILED[name]
    sources = load_operation(operation).sources(
        capability=ARCHITECTURES[architecture], dtype=dtype, shape=shape, **settings
    )
    compiled = compile_kernel(sources[role], architecture)
    assert (compiled.spills, compiled.stack_bytes) == (0, 0)
    assert compiled.registers * compiled.threads <= 65536
    assert compiled.shared_bytes <= 160 * 1024
    if role != "forward_sum" and dtype != F:
        assert compiled.count(*TENSOR_CORE) > 0
