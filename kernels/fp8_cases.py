"""The float8 product as an `Operation`: its awkward cases, and what is compiled for it.

A case's dtype is that of its output; float32 has none, as tensor cores keep fewer bits than that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.fp8_gemm import fp8_gemm, fp8_gemm_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, ...],
    columns: int,
    *,
    each_row: bool = False,
    extreme: float | None = None,
    activation: str = "none",
) -> Make:
    """Describe random inputs; `extreme` replaces one element of x."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device)

        x = draw(*shape)
        if extreme is not None:
            x[0, -1] = extreme
        rows = shape[:-1] if each_row else ()
        return {
            "x": x.to(torch.float8_e4m3fn),
            "weight": draw(columns, shape[-1]).to(torch.float8_e4m3fn),
            "x_scale": draw(*rows).abs() + 0.5,
            "weight_scale": draw(columns).abs() + 0.5,
            "bias": draw(columns),
            "activation": activation,
            "dtype": dtype,
        }

    return make


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.int8_sources import fp8_gemm_sources

    return fp8_gemm_sources(**problem)


FP8_GEMM = Operation(
    name="fp8_gemm",
    run=fp8_gemm,
    plain=fp8_gemm_plain,
    cases=(
        Case(name="1 x 1 x 1", why="under one block every way", make=_make((1, 1), 1)),
        Case(
            name="17 x 33 x 19",
            why="one or more past a block every way, in every dtype",
            make=_make((17, 33), 19, each_row=True),
            interpreted=(torch.float16, torch.bfloat16),
        ),
        Case(
            name="3 x 300 x 2",
            why="the inner dimension is split",
            make=_make((3, 300), 2, each_row=True, activation="gelu"),
        ),
        Case(
            name="nan",
            why="must reach its row and no other",
            make=_make((3, 5), 4, extreme=float("nan"), activation="relu"),
            interpreted=(),  # The interpreter takes this dtype's NaN for 480.
        ),
    ),
    dtypes=(torch.float16, torch.bfloat16),
    sources=_sources,
    letters="MxKxN",
    capability=(8, 9),
    settings={"each_row": False, "activation": "none"},
    problems=tuple(
        Problem(dtype=torch.float16, shape=(rows, 1024, 1024)) for rows in (1, 32, 256, 4096)
    ),
)
