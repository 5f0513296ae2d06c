"""Benchmark problems: pools, and gates made from pools."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from kernels.bench_inputs import Shapes, make_inputs, total
from kernels.bench_problem import BenchProblem
from kernels.operation import Arguments

POOLS: dict[str, Callable[..., Tensor]] = {
    "max_pool": lambda x, kernel, **w: functional.max_pool2d(x, kernel, **w),
    "average_pool": lambda x, kernel, **w: functional.avg_pool2d(x, kernel, **w),
    "global_average_pool": lambda x: x.mean((2, 3)),
}
"""torch's own, by operation."""


def pool_problem(name: str, batch: int, channels: int = 64, side: int = 112) -> BenchProblem:
    """Windows of 3 x 3 pixels, every other one, or all pixels at once."""
    shapes = {"x": (batch, channels, side, side)}
    size = batch * channels * side * side
    settings = {} if name == "global_average_pool" else {"kernel": 3, "stride": 2, "padding": 1}
    taps, written = (9, size // 4) if settings else (1, batch * channels)
    return BenchProblem(
        operation=name,
        name=f"{batch}x{channels}x{side}x{side}" + (", kernel 3, stride 2" if settings else ""),
        make=make_inputs(shapes, **settings),
        by_torch=POOLS[name],
        cores=False,
        flops=taps * written if settings else size,
        elements=size + written,
    )


def gem_pool_problem(batch: int, channels: int, side: int) -> BenchProblem:
    """Generalised mean over all pixels, of the power 3."""
    drawn = make_inputs({"x": (batch, channels, side, side)}, eps=1e-2)

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        exponent = torch.full((1,), 3.0, dtype=dtype, device=device)
        return {**drawn(generator, dtype, device), "exponent": exponent}

    def by_torch(x: Tensor, exponent: Tensor, eps: float) -> Tensor:
        return x.clamp(min=eps).pow(exponent).mean((2, 3)).pow(1 / exponent)

    size = batch * channels * side * side
    return BenchProblem(
        operation="gem_pool",
        name=f"{batch}x{channels}x{side}x{side}",
        make=make,
        by_torch=by_torch,
        cores=False,
        flops=3 * size,
        elements=size + 1 + batch * channels,
    )


def squeeze_excite_problem(batch: int, channels: int, side: int) -> BenchProblem:
    """A quarter of the channels between the two layers."""
    inner, size = channels // 4, batch * channels * side * side
    shapes: Shapes = {
        "x": (batch, channels, side, side),
        "squeeze_weight": (inner, channels),
        "squeeze_bias": (inner,),
        "excite_weight": (channels, inner),
        "excite_bias": (channels,),
    }

    def by_torch(
        x: Tensor,
        squeeze_weight: Tensor,
        squeeze_bias: Tensor,
        excite_weight: Tensor,
        excite_bias: Tensor,
    ) -> Tensor:
        means = functional.linear(x.mean((2, 3)), squeeze_weight, squeeze_bias).relu()
        return x * functional.linear(means, excite_weight, excite_bias).sigmoid()[:, :, None, None]

    return BenchProblem(
        operation="squeeze_excite",
        name=f"{batch}x{channels}x{side}x{side} by {inner}",
        make=make_inputs(shapes),
        by_torch=by_torch,
        cores=False,
        flops=2 * size + 4 * batch * channels * inner,
        elements=total(shapes, size),
    )


def eca_problem(batch: int, channels: int, side: int, taps: int = 5) -> BenchProblem:
    """Efficient channel attention, without a bias."""
    shapes: Shapes = {"x": (batch, channels, side, side), "weight": (taps,)}
    size = batch * channels * side * side

    def by_torch(x: Tensor, weight: Tensor) -> Tensor:
        means = x.mean((2, 3)).unsqueeze(1)
        gates = functional.conv1d(means, weight[None, None], padding=taps // 2).sigmoid()
        return x * gates.squeeze(1)[:, :, None, None]

    return BenchProblem(
        operation="eca",
        name=f"{batch}x{channels}x{side}x{side}, {taps} taps",
        make=make_inputs(shapes),
        by_torch=by_torch,
        cores=False,
        flops=2 * size + 2 * batch * channels * taps,
        elements=total(shapes, size),
    )
