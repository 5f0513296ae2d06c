"""The matrix product and the pointwise convolution as `Operation`s: awkward cases, and sources."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import ACTIVATIONS, SERVED_DTYPES
from kernels.gemm import gemm, gemm_plain, pointwise_conv2d, pointwise_conv2d_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, ...],
    columns: int,
    *,
    layout: str = "contiguous",
    extreme: float | None = None,
    has_bias: bool = True,
    has_residual: bool = True,
    activation: str = "none",
) -> Make:
    """Describe random inputs of a product; `extreme` replaces one element of x."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        x, weight = draw(*shape), draw(columns, shape[-1])
        if extreme is not None:
            x[0, -1] = extreme
        if layout == "transposed":
            x, weight = x.t().contiguous().t(), weight.t().contiguous().t()
        if layout == "sliced":
            x, weight = (
                torch.cat([x, x], dim=1)[:, 1 : 1 + shape[1]],
                draw(2 * columns, 40)[::2, 3:],
            )
        return {
            "x": x,
            "weight": weight[:, : shape[-1]],
            "bias": draw(columns) if has_bias else None,
            "residual": draw(*shape[:-1], columns) if has_residual else None,
            "activation": activation,
        }

    return make


_SIZES = (
    Case(name="1 x 1 x 1", why="under one block every way", make=_make((1, 1), 1)),
    Case(name="17 x 33 x 19", why="one or more past a block every way", make=_make((17, 33), 19)),
    Case(name="16 x 64 x 32", why="whole blocks only", make=_make((16, 64), 32)),
    Case(name="130 x 5 x 20", why="more tiles than a group", make=_make((130, 5), 20)),
    Case(name="3 leading dimensions", why="rows are multiplied out", make=_make((2, 1, 3, 7), 5)),
    Case(
        name="3 x 300 x 2",
        why="the inner dimension is split",
        make=_make((3, 300), 2, activation="silu"),
        gradients=False,
    ),
    Case(name="300 x 2 x 3", why="the weight gradient is split", make=_make((300, 2), 3)),
    Case(
        name="no bias, no residual",
        why="missing arguments, and relu keeps its output only",
        make=_make((4, 6), 5, has_bias=False, has_residual=False, activation="relu"),
    ),
)

_ACTIVATIONS = tuple(
    Case(
        name=name,
        why="every activation in every dtype",
        make=_make((5, 7), 9, activation=name),
        interpreted=SERVED_DTYPES,
    )
    for name in ACTIVATIONS
)

_LAYOUTS = tuple(
    Case(name=layout, why="strides of both operands", make=_make((5, 20), 6, layout=layout))
    for layout in ("transposed", "sliced")
)

_EXTREMES = tuple(
    Case(
        name=f"{value} {activation}",
        why="must reach its row and no other",
        make=_make((3, 5), 4, extreme=value, activation=activation, has_residual=False),
        gradients=False,
    )
    for value in (float("nan"), float("inf"))
    for activation in ACTIVATIONS
)


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.gemm_sources import sources

    return sources(**problem)


GEMM = Operation(
    name="gemm",
    run=gemm,
    plain=gemm_plain,
    cases=(*_SIZES, *_ACTIVATIONS, *_LAYOUTS, *_EXTREMES),
    dtypes=SERVED_DTYPES,
    gradients=("x", "weight", "bias", "residual"),
    sources=_sources,
    letters="MxKxN",
    settings={"activation": "none"},
    problems=tuple(
        Problem(dtype=dtype, shape=(rows, 1024, 1024))
        for rows in (1, 32, 256, 4096)
        for dtype in (torch.float16, torch.float32)
    ),
)


def _make_pixels(
    shape: tuple[int, int, int, int], columns: int, *, layout: str = "channels_last"
) -> Make:
    """Describe random inputs of a pointwise convolution."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        x = draw(*shape)
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        if layout == "sliced":
            x = torch.cat([x, x], dim=1)[:, 1 : 1 + shape[1]]
        return {
            "x": x,
            "weight": draw(columns, shape[1], 1, 1),
            "bias": draw(columns),
            "residual": draw(shape[0], columns, *shape[2:]),
            "activation": "gelu",
        }

    return make


def _pointwise_sources(
    *, shape: tuple[int, ...], columns: int, **problem: Any
) -> dict[str, KernelSource]:
    from kernels.gemm_sources import sources

    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"shape must be BxCxHxW, four sizes of at least 1; got {list(shape)}")
    batch, channels, height, width = shape
    return sources(shape=(batch * height * width, channels, columns), **problem)


POINTWISE_CONV = Operation(
    name="pointwise_conv",
    run=pointwise_conv2d,
    plain=pointwise_conv2d_plain,
    cases=(
        *(
            Case(
                name=layout,
                why="layouts of images",
                make=_make_pixels((2, 5, 3, 4), 7, layout=layout),
            )
            for layout in ("channels_last", "channels_first", "sliced")
        ),
        Case(name="one pixel", why="a map of one row", make=_make_pixels((1, 3, 1, 1), 2)),
        Case(name="one channel", why="every layout at once", make=_make_pixels((2, 1, 3, 2), 1)),
    ),
    dtypes=SERVED_DTYPES,
    gradients=("x", "weight", "bias", "residual"),
    sources=_pointwise_sources,
    letters="BxCxHxW",
    settings={"columns": 192, "activation": "none"},
    problems=(
        *(Problem(dtype=torch.float16, shape=(batch, 96, 28, 28)) for batch in (1, 64)),
        *(
            Problem(dtype=torch.float16, shape=(64, 32, 112, 112), settings={"columns": columns})
            for columns in (16, 64)
        ),
    ),
)
