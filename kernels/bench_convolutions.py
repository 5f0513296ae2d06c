"""Benchmark problems: convolutions of several kernels, of int8, and by Fourier transform."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from kernels.bench_inputs import Shapes, draw, make_inputs, total
from kernels.bench_problem import BenchProblem
from kernels.operation import Arguments

_BRANCHES = ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5))
"""Sizes and dilations beside a kernel of 13: UniRepLKNet (arXiv 2311.15599), table 1."""


def inception_problem(batch: int, channels: int, side: int, band: int) -> BenchProblem:
    """An eighth of the channels for each kernel, as in InceptionNeXt (arXiv 2303.16900)."""
    group, square = channels // 8, 3
    shapes: Shapes = {
        "x": (batch, channels, side, side),
        "square_weight": (group, 1, square, square),
        "row_weight": (group, 1, 1, band),
        "column_weight": (group, 1, band, 1),
    }
    size = batch * channels * side * side

    def by_torch(
        x: Tensor, square_weight: Tensor, row_weight: Tensor, column_weight: Tensor
    ) -> Tensor:
        parts = list(torch.split(x, [channels - 3 * group, *[group] * 3], dim=1))
        for index, weight in enumerate((square_weight, row_weight, column_weight), 1):
            padding = [taps // 2 for taps in weight.shape[2:]]
            parts[index] = functional.conv2d(parts[index], weight, padding=padding, groups=group)
        return torch.cat(parts, dim=1)

    return BenchProblem(
        operation="inception_depthwise",
        name=f"{batch}x{channels}x{side}x{side}, kernels {square} and {band}",
        make=make_inputs(shapes),
        by_torch=by_torch,
        cores=False,
        flops=2 * size * group * (square**2 + 2 * band) // channels,
        elements=total(shapes, size),
    )


def dilated_problem(batch: int, channels: int, side: int, kernel: int = 13) -> BenchProblem:
    """A large kernel and five dilated ones, merged in every call; torch runs them one by one."""
    shapes: Shapes = {
        "x": (batch, channels, side, side),
        "weight": (channels, 1, kernel, kernel),
        "bias": (channels,),
    }
    size = batch * channels * side * side
    drawn = make_inputs(shapes)

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        branches = [
            (draw(generator, (channels, 1, taps, taps), dtype, device), dilation)
            for taps, dilation in _BRANCHES
        ]
        return {**drawn(generator, dtype, device), "branches": branches}

    def by_torch(
        x: Tensor, weight: Tensor, branches: list[tuple[Tensor, int]], bias: Tensor
    ) -> Tensor:
        y = functional.conv2d(x, weight, bias, padding=kernel // 2, groups=channels)
        for branch, dilation in branches:
            reach = branch.shape[3] // 2 * dilation
            y += functional.conv2d(x, branch, padding=reach, dilation=dilation, groups=channels)
        return y

    return BenchProblem(
        operation="dilated_reparam",
        name=f"{batch}x{channels}x{side}x{side}, kernel {kernel} and {len(_BRANCHES)} dilated",
        make=make,
        by_torch=by_torch,
        cores=False,
        flops=2 * size * kernel**2,
        elements=total(shapes, size, *(channels * taps**2 for taps, _ in _BRANCHES)),
    )


def int8_conv_problem(batch: int, channels: int, out: int, side: int) -> BenchProblem:
    """W8A8 of 3 x 3 pixels, a scale for the image and one for each output channel."""
    size = batch * out * side * side

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def steps(*shape: int) -> Tensor:
            drawn = torch.randint(-128, 128, shape, generator=generator, dtype=torch.int8)
            return drawn.to(device, memory_format=torch.channels_last)

        return {
            "x": steps(batch, channels, side, side),
            "weight": steps(out, channels, 3, 3),
            "x_scale": torch.full((1,), 1e-2, device=device),
            "weight_scale": torch.full((out,), 1e-3, device=device),
            "padding": 1,
            "activation": "relu",
            "dtype": dtype,
        }

    def by_torch(x: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(x, weight, padding=1).relu()

    return BenchProblem(
        operation="int8_conv",
        name=f"{batch}x{channels}x{side}x{side} to {out}, kernel 3, relu, W8A8",
        make=make,
        by_torch=by_torch,
        torch_inputs=_floats_of_int8,
        dtypes=(torch.bfloat16,),
        rate="int8",
        flops=2 * size * channels * 9,
        elements=size,
        bytes=batch * channels * side * side + out * channels * 9 + 4 * (1 + out),
    )


def _floats_of_int8(arguments: Arguments) -> Arguments:
    dtype = arguments["dtype"]
    weight = arguments["weight"] * arguments["weight_scale"][:, None, None, None]
    return {"x": (arguments["x"] * arguments["x_scale"]).to(dtype), "weight": weight.to(dtype)}


def long_conv_problem(batch: int, channels: int, length: int) -> BenchProblem:
    """As long as the sequence in both directions: a circle of twice the length."""
    period = 2 * length
    shapes: Shapes = {"x": (batch, channels, length), "kernel": (channels, period)}

    def by_torch(x: Tensor, kernel: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x.float(), n=period) * torch.fft.rfft(kernel.float())
        y: Tensor = torch.fft.irfft(spectrum, n=period)[..., :length]
        return y.to(x.dtype)

    # Two real transforms of 5/2 P log2 P operations each and the product of P/2 complex numbers.
    each = 5 * period * math.log2(period) + 3 * period
    return BenchProblem(
        operation="long_conv",
        name=f"{batch}x{channels}x{length}",
        make=make_inputs(shapes),
        by_torch=by_torch,
        cores=False,
        flops=int(batch * channels * each),
        elements=total(shapes, batch * channels * length),
    )
