"""The int8 product and convolution as `Operation`s: awkward cases, and sources.

A case's dtype is that of its output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import SERVED_DTYPES
from kernels.int8_conv import int8_conv2d, int8_conv2d_plain
from kernels.int8_gemm import int8_gemm, int8_gemm_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem

DTYPES: tuple[torch.dtype, ...] = (*SERVED_DTYPES, torch.int8)
"""What an output can be."""


def _steps(generator: torch.Generator, device: torch.device, *size: int) -> Tensor:
    """Draw from all of int8, both ends included."""
    return torch.randint(-128, 128, size, generator=generator, dtype=torch.int8).to(device)


def _quantisation(
    generator: torch.Generator,
    dtype: torch.dtype,
    device: torch.device,
    columns: int,
    inner: int,
    rows: tuple[int, ...],
) -> Arguments:
    """Draw scales that bring outputs to about 1, and a bias; `rows` is the shape of x_scale."""

    def draw(*size: int) -> Tensor:
        return (torch.rand(size, generator=generator) + 0.5).to(device)

    # An int8 step has a standard deviation of 74.
    found: Arguments = {
        "x_scale": draw(*rows) / (74 * inner**0.5),
        "weight_scale": draw(columns) / 74,
        "bias": torch.randn(columns, generator=generator).to(device),
    }
    # About one value in five is cut off at either end.
    return found | (
        {"y_scale": 0.01, "y_zero_point": 3} if dtype == torch.int8 else {"dtype": dtype}
    )


def _make(
    shape: tuple[int, ...],
    columns: int,
    *,
    each_row: bool = False,
    x_zero_point: int = 0,
    layout: str = "contiguous",
    activation: str = "none",
) -> Make:
    """Describe random inputs of a product."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        x = _steps(generator, device, *shape)
        weight = _steps(generator, device, columns, shape[-1])
        if layout == "transposed":
            x, weight = x.t().contiguous().t(), weight.t().contiguous().t()
        if layout == "sliced":
            x = torch.cat([x, x], dim=1)[:, 1 : 1 + shape[1]]
        rows = shape[:-1] if each_row else ()
        return {
            "x": x,
            "weight": weight,
            **_quantisation(generator, dtype, device, columns, shape[-1], rows),
            "x_zero_point": x_zero_point,
            "activation": activation,
        }

    return make


def _gemm_sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.int8_sources import int8_gemm_sources

    return int8_gemm_sources(**problem)


INT8_GEMM = Operation(
    name="int8_gemm",
    run=int8_gemm,
    plain=int8_gemm_plain,
    cases=(
        Case(name="1 x 1 x 1", why="under one block every way", make=_make((1, 1), 1)),
        Case(
            name="17 x 33 x 19",
            why="one or more past a block every way, in every dtype",
            make=_make((17, 33), 19, each_row=True),
            interpreted=DTYPES,
        ),
        Case(
            name="zero point",
            why="shifts every sum, and the padding of a step is not 0",
            make=_make((5, 40), 6, x_zero_point=-128),
            interpreted=(torch.float32, torch.int8),
        ),
        Case(
            name="3 x 300 x 2",
            why="the inner dimension is split",
            make=_make((3, 300), 2, x_zero_point=5, activation="relu"),
            interpreted=(torch.float32, torch.int8),
        ),
        Case(
            name="3 leading dimensions",
            why="rows, and their scales, are multiplied out",
            make=_make((2, 1, 3, 7), 5, each_row=True, activation="gelu"),
        ),
        Case(name="silu", why="the last activation", make=_make((2, 7), 5, activation="silu")),
        Case(
            name="transposed",
            why="strides of both operands",
            make=_make((4, 9), 5, layout="transposed"),
        ),
        Case(name="sliced", why="rows apart, unaligned", make=_make((4, 9), 5, layout="sliced")),
    ),
    dtypes=DTYPES,
    sources=_gemm_sources,
    letters="MxKxN",
    settings={"each_row": False, "zero_point": False, "activation": "none"},
    problems=(
        *(Problem(dtype=torch.float16, shape=(rows, 1024, 1024)) for rows in (1, 32, 256, 4096)),
        Problem(
            dtype=torch.int8,
            shape=(4096, 1024, 1024),
            settings={"each_row": True, "zero_point": True},
        ),
    ),
)


def _make_images(
    shape: tuple[int, int, int, int],
    columns: int,
    kernel: int,
    *,
    layout: str = "channels_last",
    **settings: Any,
) -> Make:
    """Describe random inputs of a convolution."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        x = _steps(generator, device, *shape)
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        inner = shape[1] * kernel * kernel
        return {
            "x": x,
            "weight": _steps(generator, device, columns, shape[1], kernel, kernel),
            **_quantisation(generator, dtype, device, columns, inner, ()),
            **settings,
        }

    return make


def _conv_sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.int8_sources import int8_conv_sources

    return int8_conv_sources(**problem)


INT8_CONV = Operation(
    name="int8_conv",
    run=int8_conv2d,
    plain=int8_conv2d_plain,
    cases=(
        Case(
            name="one pixel",
            why="all taps but one are padding",
            make=_make_images((2, 3, 1, 1), 2, 3, padding=1),
        ),
        Case(
            name="stem 7",
            why="a run of 21 elements, stride 2 on an odd size, in every dtype",
            make=_make_images((1, 3, 9, 7), 17, 7, stride=2, padding=3),
            interpreted=DTYPES,
        ),
        Case(
            name="zero point",
            why="padding is the zero point, not 0",
            make=_make_images((1, 3, 4, 5), 4, 3, padding=2, x_zero_point=-100),
            interpreted=(torch.float32, torch.int8),
        ),
        Case(
            name="32 channels, zero point",
            why="whole taps a step, and padding is not 0",
            make=_make_images((1, 32, 4, 4), 3, 3, padding=1, x_zero_point=7, activation="relu"),
        ),
        Case(
            name="65 channels",
            why="steps that straddle taps, and a split window",
            make=_make_images((1, 65, 3, 3), 2, 3, padding=1, x_zero_point=7, activation="gelu"),
        ),
        Case(
            name="dilation 2, even kernel",
            why="taps apart, channels first",
            make=_make_images((1, 2, 6, 5), 3, 2, dilation=2, layout="channels_first"),
        ),
    ),
    dtypes=DTYPES,
    sources=_conv_sources,
    letters="BxCxHxW",
    settings={
        **{"columns": 64, "kernel": 3, "stride": 1, "padding": 1, "dilation": 1},
        **{"zero_point": False, "activation": "none"},
    },
    problems=(
        *(
            Problem(dtype=torch.float16, shape=(batch, 128, 28, 28), settings={"columns": 128})
            for batch in (1, 64)
        ),
        Problem(
            dtype=torch.int8,
            shape=(64, 3, 224, 224),
            settings={"kernel": 7, "stride": 2, "padding": 3, "zero_point": True},
        ),
    ),
)
