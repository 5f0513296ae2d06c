"""The sizes at which operations are timed against torch, and torch's own way to compute them.

Depthwise convolutions at batch 1 and 64 as in large-kernel networks; norms, pools and elementwise
operations large enough to be bound by memory; quantized products from 1 row to 8,192.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kernels.backend import ACTIVATIONS
from kernels.bench_problem import BenchProblem
from kernels.catalogue import UnknownOperationError
from kernels.operation import Arguments, Make
from kernels.w4_gemm import pack_w4, unpack_w4

_HALVES = (torch.float16, torch.bfloat16)
_GROUP = 128
Shapes = Mapping[str, tuple[int, ...]]


def bench_problems() -> tuple[BenchProblem, ...]:
    """All of them, by operation."""
    return (
        *(
            _depthwise(batch, channels, side, kernel)
            for kernel in (7, 31)
            for batch in (1, 64)
            for channels, side in ((96, 56), (384, 14))
        ),
        *(_pointwise(batch, *sizes) for batch in (1, 64) for sizes in ((96, 384, 56),)),
        *(_dense(batch, 64, 128, 56) for batch in (1, 64)),
        *(_gemm(rows, 4096, 4096) for rows in (1, 64, 1024, 8192)),
        *(_int8(rows, 4096, 4096) for rows in (1, 16, 64, 256, 1024, 4096, 8192)),
        *(_w4(rows, 4096, 4096) for rows in (1, 4, 16, 32, 64)),
        *(_attention(batch, tokens) for batch, tokens in ((1, 196), (64, 196), (8, 4096))),
        *(_norm(name, rows, 768) for name in ("layer_norm", "rms_norm") for rows in (196, 65536)),
        *(_elementwise(rows, 768) for rows in (196, 65536)),
        *(
            _pool(name, batch)
            for name in ("max_pool", "average_pool", "global_average_pool")
            for batch in (1, 64)
        ),
    )


def bench_operations() -> tuple[str, ...]:
    """Names of the operations that have problems."""
    return tuple(dict.fromkeys(problem.operation for problem in bench_problems()))


def _make(shapes: Shapes, **settings: Any) -> Make:
    """Draw tensors of these shapes, images channels-last, in the dtype asked for."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        found: Arguments = dict(settings)
        for name, shape in shapes.items():
            x = _draw(generator, shape, dtype, device)
            if name == "x" and len(shape) == 4:
                x = x.to(memory_format=torch.channels_last)
            found[name] = x
        return found

    return make


def _draw(
    generator: torch.Generator, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Fill large tensors on their device: drawing 10^8 values on a CPU takes a second."""
    if device.type == "cpu":
        return torch.randn(shape, generator=generator).to(dtype)
    own = torch.Generator(device).manual_seed(int(generator.initial_seed()))
    return torch.empty(shape, dtype=dtype, device=device).normal_(generator=own)


def _total(shapes: Shapes, *outputs: int) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes.values()) + sum(outputs)


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
        make=_make(shapes),
        by_torch=by_torch,
        cores=False,
        flops=2 * size * kernel * kernel,
        elements=_total(shapes, size),
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
        make=_make(shapes, activation="gelu"),
        by_torch=by_torch,
        flops=2 * pixels * channels * out,
        elements=_total(shapes, pixels * out),
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
        make=_make(shapes, padding=1, activation="relu"),
        by_torch=by_torch,
        flops=2 * size * channels * 9,
        elements=_total(shapes, size),
    )


def _gemm(rows: int, columns: int, inner: int) -> BenchProblem:
    shapes = {"x": (rows, inner), "weight": (columns, inner)}
    return BenchProblem(
        operation="gemm",
        name=f"{rows}x{inner} by {inner}x{columns}",
        make=_make(shapes),
        by_torch=functional.linear,
        dtypes=_HALVES,
        flops=2 * rows * columns * inner,
        elements=_total(shapes, rows * columns),
    )


def _int8(rows: int, columns: int, inner: int) -> BenchProblem:
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
        torch_inputs=_floats_of_int8,
        others={"int_mm": _int_mm},
        dtypes=_HALVES[1:],
        rate="int8",
        flops=2 * rows * columns * inner,
        elements=rows * columns,
        bytes=rows * inner + columns * inner + 4 * (rows + columns),
    )


def _floats_of_int8(arguments: Arguments) -> Arguments:
    dtype = arguments["dtype"]
    x = arguments["x"] * arguments["x_scale"][:, None]
    weight = arguments["weight"] * arguments["weight_scale"][:, None]
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


def _w4(rows: int, columns: int, inner: int) -> BenchProblem:
    """W4A16 with a scale for each 128 inner elements."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        steps = torch.randint(0, 16, (columns, inner), generator=generator, dtype=torch.uint8)
        return {
            "x": _draw(generator, (rows, inner), dtype, device),
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


def _attention(batch: int, tokens: int, heads: int = 12, features: int = 64) -> BenchProblem:
    shapes = dict.fromkeys(("q", "k", "v"), (batch, heads, tokens, features))
    return BenchProblem(
        operation="attention",
        name=f"{batch}x{heads}x{tokens}x{features}",
        make=_make(shapes),
        by_torch=lambda q, k, v: functional.scaled_dot_product_attention(q, k, v),
        flops=4 * batch * heads * tokens * tokens * features,
        elements=4 * batch * heads * tokens * features,
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
        make=_make(shapes),
        by_torch=by_torch,
        cores=False,
        flops=(8 if name == "layer_norm" else 4) * rows * columns,
        elements=_total(shapes, rows * columns),
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
        make=_make(shapes, activation="gelu", channel_dim=-1),
        by_torch=by_torch,
        cores=False,
        flops=3 * rows * columns,
        elements=_total(shapes, rows * columns),
    )


def _pool(name: str, batch: int, channels: int = 64, side: int = 112) -> BenchProblem:
    shapes = {"x": (batch, channels, side, side)}
    size = batch * channels * side * side
    settings = {} if name == "global_average_pool" else {"kernel": 3, "stride": 2, "padding": 1}
    taps, written = (9, size // 4) if settings else (1, batch * channels)
    return BenchProblem(
        operation=name,
        name=f"{batch}x{channels}x{side}x{side}" + (", kernel 3, stride 2" if settings else ""),
        make=_make(shapes, **settings),
        by_torch=_POOLS[name],
        cores=False,
        flops=taps * written if settings else size,
        elements=size + written,
    )


_POOLS: dict[str, Callable[..., Tensor]] = {
    "max_pool": lambda x, kernel, **w: functional.max_pool2d(x, kernel, **w),
    "average_pool": lambda x, kernel, **w: functional.avg_pool2d(x, kernel, **w),
    "global_average_pool": lambda x: x.mean((2, 3)),
}


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
