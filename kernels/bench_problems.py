"""The sizes at which operations are timed against torch, and torch's own way to compute them.

Depthwise convolutions at batch 1 and 64 as in large-kernel networks; norms, pools and elementwise
operations large enough to be bound by memory; quantized products from 1 row to 8,192.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from kernels.backend import ACTIVATIONS
from kernels.bench_convolutions import (
    dilated_problem,
    inception_problem,
    int8_conv_problem,
    long_conv_problem,
)
from kernels.bench_inputs import Shapes, make_inputs, total
from kernels.bench_pools import (
    POOLS,
    eca_problem,
    gem_pool_problem,
    pool_problem,
    squeeze_excite_problem,
)
from kernels.bench_problem import BenchProblem
from kernels.bench_products import (
    attention_problem,
    fp8_problem,
    gemm_problem,
    int8_problem,
    w4_problem,
)
from kernels.catalogue import UnknownOperationError
from kernels.operation import Arguments


def bench_problems() -> tuple[BenchProblem, ...]:
    """All of them, by operation."""
    return (
        *(
            _depthwise(batch, channels, side, kernel)
            for kernel in (7, 31)
            for batch in (1, 64)
            for channels, side in ((96, 56), (384, 14))
        ),
        *(inception_problem(batch, 96, 56, 11) for batch in (1, 64)),
        *(dilated_problem(batch, 96, 56) for batch in (1, 64)),
        *(long_conv_problem(batch, 96, 1024) for batch in (1, 64)),
        *(_pointwise(batch, *sizes) for batch in (1, 64) for sizes in ((96, 384, 56),)),
        *(_dense(batch, 64, 128, 56) for batch in (1, 64)),
        *(int8_conv_problem(batch, 64, 128, 56) for batch in (1, 64)),
        *(gemm_problem(rows, 4096, 4096) for rows in (1, 64, 1024, 8192)),
        *(int8_problem(rows, 4096, 4096) for rows in (1, 16, 64, 256, 1024, 4096, 8192)),
        *(fp8_problem(rows, 4096, 4096) for rows in (1, 64, 1024, 8192)),
        *(w4_problem(rows, 4096, 4096) for rows in (1, 4, 16, 32, 64)),
        *(attention_problem(batch, tokens) for batch, tokens in ((1, 196), (64, 196), (8, 4096))),
        *(_norm(name, rows, 768) for name in ("layer_norm", "rms_norm") for rows in (196, 65536)),
        *(_elementwise(rows, 768) for rows in (196, 65536)),
        *(pool_problem(name, batch) for name in POOLS for batch in (1, 64)),
        *(gem_pool_problem(batch, 256, 14) for batch in (1, 64)),
        *(_batch_norm(batch, 256, 56) for batch in (1, 64)),
        *(squeeze_excite_problem(batch, 256, 28) for batch in (1, 64)),
        *(eca_problem(batch, 256, 28) for batch in (1, 64)),
        *(_inverted_residual(batch, 24, 144, 56) for batch in (1, 64)),
    )


def bench_operations() -> tuple[str, ...]:
    """Names of the operations that have problems."""
    return tuple(dict.fromkeys(problem.operation for problem in bench_problems()))


def _depthwise(batch: int, channels: int, side: int, kernel: int) -> BenchProblem:
    shapes = {
        "x": (batch, channels, side, side),
        "weight": (channels, 1, kernel, kernel),
        "bias": (channels,),
    }
    size = batch * channels * side * side

    def by_torch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.conv2d(x, weight, bias, padding=kernel // 2, groups=channels)

    return BenchProblem(
        operation="depthwise_conv",
        name=f"{batch}x{channels}x{side}x{side}, kernel {kernel}",
        make=make_inputs(shapes),
        by_torch=by_torch,
        cores=False,
        flops=2 * size * kernel * kernel,
        elements=total(shapes, size),
    )


def _pointwise(batch: int, channels: int, out: int, side: int) -> BenchProblem:
    shapes = {
        "x": (batch, channels, side, side),
        "weight": (out, channels, 1, 1),
        "bias": (out,),
    }
    pixels = batch * side * side

    def by_torch(x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
        return ACTIVATIONS[activation](functional.conv2d(x, weight, bias))

    return BenchProblem(
        operation="pointwise_conv",
        name=f"{batch}x{channels}x{side}x{side} to {out}, gelu",
        make=make_inputs(shapes, activation="gelu"),
        by_torch=by_torch,
        flops=2 * pixels * channels * out,
        elements=total(shapes, pixels * out),
    )


def _dense(batch: int, channels: int, out: int, side: int) -> BenchProblem:
    shapes = {
        "x": (batch, channels, side, side),
        "weight": (out, channels, 3, 3),
        "bias": (out,),
    }
    size = batch * out * side * side

    def by_torch(x: Tensor, weight: Tensor, bias: Tensor, padding: int, activation: str) -> Tensor:
        return ACTIVATIONS[activation](functional.conv2d(x, weight, bias, padding=padding))

    return BenchProblem(
        operation="dense_conv",
        name=f"{batch}x{channels}x{side}x{side} to {out}, kernel 3, relu",
        make=make_inputs(shapes, padding=1, activation="relu"),
        by_torch=by_torch,
        flops=2 * size * channels * 9,
        elements=total(shapes, size),
    )


def _norm(name: str, rows: int, columns: int) -> BenchProblem:
    shapes: Shapes = {"x": (rows, columns), "weight": (columns,)}
    if name == "layer_norm":
        shapes = {**shapes, "bias": (columns,)}

    def by_torch(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if bias is None:
            return functional.rms_norm(x, (columns,), weight, eps=1e-6)
        return functional.layer_norm(x, (columns,), weight, bias)

    return BenchProblem(
        operation=name,
        name=f"{rows}x{columns}",
        make=make_inputs(shapes),
        by_torch=by_torch,
        cores=False,
        flops=(8 if name == "layer_norm" else 4) * rows * columns,
        elements=total(shapes, rows * columns),
    )


def _elementwise(rows: int, columns: int) -> BenchProblem:
    shapes: Shapes = {
        "x": (rows, columns),
        "bias": (columns,),
        "residual": (rows, columns),
    }

    def by_torch(
        x: Tensor, bias: Tensor, residual: Tensor, activation: str, channel_dim: int
    ) -> Tensor:
        return ACTIVATIONS[activation](x + bias) + residual

    return BenchProblem(
        operation="elementwise",
        name=f"{rows}x{columns}, bias, gelu, residual",
        make=make_inputs(shapes, activation="gelu", channel_dim=-1),
        by_torch=by_torch,
        cores=False,
        flops=3 * rows * columns,
        elements=total(shapes, rows * columns),
    )


def _batch_norm(batch: int, channels: int, side: int) -> BenchProblem:
    size = batch * channels * side * side
    vectors = dict.fromkeys(("mean", "weight", "bias"), (channels,))
    shapes: Shapes = {"x": (batch, channels, side, side), **vectors}
    drawn = make_inputs(shapes, activation="relu")

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        ones = torch.ones(channels, dtype=dtype, device=device)
        return {**drawn(generator, dtype, device), "variance": ones}

    def by_torch(
        x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, activation: str
    ) -> Tensor:
        return ACTIVATIONS[activation](functional.batch_norm(x, mean, variance, weight, bias))

    return BenchProblem(
        operation="batch_norm",
        name=f"{batch}x{channels}x{side}x{side}, relu",
        make=make,
        by_torch=by_torch,
        cores=False,
        flops=2 * size,
        elements=total(shapes, channels, size),
    )


def _inverted_residual(batch: int, channels: int, inner: int, side: int) -> BenchProblem:
    shapes: Shapes = {
        "x": (batch, channels, side, side),
        "expand_weight": (inner, channels, 1, 1),
        "expand_bias": (inner,),
        "depthwise_weight": (inner, 1, 3, 3),
        "depthwise_bias": (inner,),
        "project_weight": (channels, inner, 1, 1),
        "project_bias": (channels,),
    }
    pixels = batch * side * side

    def by_torch(
        x: Tensor,
        expand_weight: Tensor,
        expand_bias: Tensor,
        depthwise_weight: Tensor,
        depthwise_bias: Tensor,
        project_weight: Tensor,
        project_bias: Tensor,
        residual: bool,
    ) -> Tensor:
        y = functional.conv2d(x, expand_weight, expand_bias).relu()
        y = functional.conv2d(y, depthwise_weight, depthwise_bias, padding=1, groups=inner).relu()
        return functional.conv2d(y, project_weight, project_bias) + x

    return BenchProblem(
        operation="inverted_residual",
        name=f"{batch}x{channels}x{side}x{side} by {inner}, kernel 3",
        make=make_inputs(shapes, residual=True),
        by_torch=by_torch,
        flops=2 * pixels * inner * (2 * channels + 9),
        elements=total(shapes, pixels * channels),
    )


def select(only: Iterable[str]) -> tuple[BenchProblem, ...]:
    """Problems of the operations named; all if none is.

    Raises:
        UnknownOperationError: an operation has no problems here.
    """
    wanted = set(only)
    unknown = sorted(wanted - set(bench_operations()))
    if unknown:
        raise UnknownOperationError(
            f"operations that are timed are {', '.join(bench_operations())}; got {unknown[0]!r}"
        )
    return tuple(p for p in bench_problems() if not wanted or p.operation in wanted)
