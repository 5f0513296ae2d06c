"""Benchmark problems that are matrix products: of floats, of quantized numbers, and attention."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kernels.bench_inputs import draw, make_inputs, total
from kernels.bench_problem import BenchProblem
from kernels.operation import Arguments
from kernels.w4_gemm import pack_w4, unpack_w4

_HALVES = (torch.float16, torch.bfloat16)
_GROUP = 128


def gemm_problem(rows: int, columns: int, inner: int) -> BenchProblem:
    """A linear layer without a bias."""
    shapes = {"x": (rows, inner), "weight": (columns, inner)}
    return BenchProblem(
        operation="gemm",
        name=f"{rows}x{inner} by {inner}x{columns}",
        make=make_inputs(shapes),
        by_torch=functional.linear,
        dtypes=_HALVES,
        flops=2 * rows * columns * inner,
        elements=total(shapes, rows * columns),
    )


def int8_problem(rows: int, columns: int, inner: int) -> BenchProblem:
    """W8A8, a scale a row and a column."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def steps(*size: int) -> Tensor:
            drawn = torch.randint(-128, 128, size, generator=generator, dtype=torch.int8)
            return drawn.to(device)

        return {
            "x": steps(rows, inner),
            "weight": steps(columns, inner),
            "x_scale": torch.full((rows,), 1e-2, device=device),
            "weight_scale": torch.full((columns,), 1e-3, device=device),
            "dtype": dtype,
        }

    return BenchProblem(
        operation="int8_gemm",
        name=f"{rows}x{inner} by {inner}x{columns}, W8A8",
        make=make,
        by_torch=functional.linear,
        torch_inputs=_floats,
        others={"int_mm": _int_mm},
        dtypes=_HALVES[1:],
        rate="int8",
        flops=2 * rows * columns * inner,
        elements=rows * columns,
        bytes=rows * inner + columns * inner + 4 * (rows + columns),
    )


def _floats(arguments: Arguments) -> Arguments:
    """What 8-bit operands with their scales stand for."""
    dtype = arguments["dtype"]
    x = arguments["x"].float() * arguments["x_scale"][:, None]
    weight = arguments["weight"].float() * arguments["weight_scale"][:, None]
    return {"input": x.to(dtype), "weight": weight.to(dtype)}


def _int_mm(
    x: Tensor, weight: Tensor, x_scale: Tensor, weight_scale: Tensor, dtype: torch.dtype
) -> Tensor:
    # torch's int8 product on CUDA wants more than 16 rows.
    if x.is_cuda and x.shape[0] <= 16:
        x = functional.pad(x, (0, 0, 0, 17 - x.shape[0]))
        padded = torch._int_mm(x, weight.t())[: x_scale.shape[0]]
        return (padded * x_scale[:, None] * weight_scale).to(dtype)
    return (torch._int_mm(x, weight.t()) * x_scale[:, None] * weight_scale).to(dtype)


def fp8_problem(rows: int, columns: int, inner: int) -> BenchProblem:
    """A product of e4m3 numbers, a scale a row and a column."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def drawn(*size: int) -> Tensor:
            return draw(generator, size, torch.float32, device).to(torch.float8_e4m3fn)

        return {
            "x": drawn(rows, inner),
            "weight": drawn(columns, inner),
            "x_scale": torch.full((rows,), 1e-2, device=device),
            "weight_scale": torch.full((columns,), 1e-1, device=device),
            "dtype": dtype,
        }

    return BenchProblem(
        operation="fp8_gemm",
        name=f"{rows}x{inner} by {inner}x{columns}, e4m3",
        make=make,
        by_torch=functional.linear,
        torch_inputs=_floats,
        others={"scaled_mm": _scaled_mm},
        dtypes=_HALVES[1:],
        rate="fp8",
        flops=2 * rows * columns * inner,
        elements=rows * columns,
        bytes=rows * inner + columns * inner + 4 * (rows + columns),
    )


def _scaled_mm(
    x: Tensor, weight: Tensor, x_scale: Tensor, weight_scale: Tensor, dtype: torch.dtype
) -> Tensor:
    scales = (x_scale[:, None], weight_scale[None])
    y: Tensor = torch._scaled_mm(x, weight.t(), *scales, out_dtype=dtype)
    return y


def w4_problem(rows: int, columns: int, inner: int) -> BenchProblem:
    """W4A16 with a scale for each 128 inner elements."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        steps = torch.randint(0, 16, (columns, inner), generator=generator, dtype=torch.uint8)
        return {
            "x": draw(generator, (rows, inner), dtype, device),
            "packed": pack_w4(steps.to(device)),
            "scale": torch.full((inner // _GROUP, columns), 1e-2, dtype=dtype, device=device),
        }

    return BenchProblem(
        operation="w4_gemm",
        name=f"{rows}x{inner} by {inner}x{columns}, W4A16",
        make=make,
        by_torch=functional.linear,
        torch_inputs=_floats_of_w4,
        flops=2 * rows * columns * inner,
        elements=rows * (inner + columns) + inner // _GROUP * columns,
        bytes=inner * columns // 2,
    )


def _floats_of_w4(arguments: Arguments) -> Arguments:
    x, scale = arguments["x"], arguments["scale"]
    steps = unpack_w4(arguments["packed"], x.shape[1]).to(x.dtype) - 8
    groups = steps.reshape(len(steps), -1, _GROUP) * scale.t()[:, :, None]
    return {"input": x, "weight": groups.flatten(1)}


def attention_problem(batch: int, tokens: int, heads: int = 12, features: int = 64) -> BenchProblem:
    """Attention without a mask."""
    shapes = dict.fromkeys(("q", "k", "v"), (batch, heads, tokens, features))
    return BenchProblem(
        operation="attention",
        name=f"{batch}x{heads}x{tokens}x{features}",
        make=make_inputs(shapes),
        by_torch=lambda q, k, v: functional.scaled_dot_product_attention(q, k, v),
        flops=4 * batch * heads * tokens * tokens * features,
        elements=4 * batch * heads * tokens * features,
    )
