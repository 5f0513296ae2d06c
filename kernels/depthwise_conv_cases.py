"""The depthwise convolution as an `Operation`: its awkward cases, and what is compiled for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import ACTIVATIONS, SERVED_DTYPES
from kernels.depthwise_conv import depthwise_conv2d, depthwise_conv2d_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, int, int, int],
    kernel: int,
    *,
    layout: str = "contiguous",
    extreme: float | None = None,
    has_bias: bool = True,
    **settings: Any,
) -> Make:
    """Describe random inputs; `extreme` replaces one pixel of the last channel."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        x = draw(*shape)
        if extreme is not None:
            x[0, -1, 0, -1] = extreme
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        if layout == "transposed":
            x = x.transpose(2, 3)
        if layout == "sliced":
            x = torch.cat([x, x], dim=1)[:, 1 : 1 + shape[1]]
        bias = draw(shape[1]) if has_bias else None
        weight = draw(shape[1], 1, kernel, kernel)
        return {"x": x, "weight": weight, "bias": bias, **settings}

    return make


_SIZES = (
    Case(name="one channel", why="under one block", make=_make((1, 1, 5, 4), 3)),
    Case(name="one pixel", why="all taps but one are padding", make=_make((2, 3, 1, 1), 3)),
    Case(name="33 channels", why="one past a block", make=_make((2, 33, 4, 3), 3)),
    Case(name="2 rows, 5 taps", why="fewer rows than taps", make=_make((1, 3, 2, 9), 5)),
    Case(
        name="stride 2, odd", why="the last tap is unpaired", make=_make((1, 4, 7, 9), 5, stride=2)
    ),
    Case(
        name="stride 2, even", why="the last row is unseen", make=_make((1, 4, 8, 6), 3, stride=2)
    ),
    Case(name="stride 4", why="past the kernel", make=_make((1, 2, 9, 8), 3, stride=4)),
    Case(
        name="stride 3, dilation 2",
        why="both at once, and no common factor",
        make=_make((2, 2, 8, 7), 3, stride=3, dilation=2),
    ),
    Case(name="dilation 5", why="past the map", make=_make((1, 2, 4, 4), 3, dilation=5)),
    Case(name="9 x 17", why="several tiles both ways, wide", make=_make((1, 2, 9, 17), 3)),
    Case(name="9 x 9", why="several tiles both ways, narrow", make=_make((1, 2, 9, 9), 3)),
    Case(name="kernel 13", why="the largest blocks' class", make=_make((1, 2, 3, 4), 13)),
    Case(
        name="kernel 31",
        why="past the map both ways",
        make=_make((1, 2, 3, 4), 31),
        gradients=False,
    ),
    Case(
        name="kernel 31, gradients",
        why="the largest kernel; 20 s in the interpreter",
        make=_make((2, 40, 33, 30), 31),
        interpreted=(),
    ),
    Case(name="no bias", why="a missing argument", make=_make((1, 3, 4, 4), 3, has_bias=False)),
)

_ACTIVATIONS = tuple(
    Case(
        name=name,
        why="every activation in every dtype",
        make=_make((1, 5, 5, 4), 3, activation=name),
        interpreted=SERVED_DTYPES,
    )
    for name in ACTIVATIONS
)

_LAYOUTS = tuple(
    Case(
        name=layout, why="strides that a copy must undo", make=_make((2, 4, 5, 5), 3, layout=layout)
    )
    for layout in ("channels_last", "transposed", "sliced")
)

_EXTREMES = tuple(
    Case(
        name=f"{value} {activation}",
        why="must reach exactly what sees it",
        make=_make((1, 2, 6, 6), 3, extreme=value, activation=activation),
        gradients=False,
    )
    for value in (float("nan"), float("inf"), -float("inf"))
    for activation in ACTIVATIONS
)


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.depthwise_conv_sources import sources

    return sources(**problem)


DEPTHWISE_CONV = Operation(
    name="depthwise_conv",
    run=depthwise_conv2d,
    plain=depthwise_conv2d_plain,
    cases=(*_SIZES, *_ACTIVATIONS, *_LAYOUTS, *_EXTREMES),
    dtypes=SERVED_DTYPES,
    gradients=("x", "weight", "bias"),
    sources=_sources,
    letters="BxCxHxW",
    settings={"kernel": 7, "stride": 1, "dilation": 1, "activation": "none"},
    problems=tuple(
        Problem(dtype=dtype, shape=(1, 96, size, size), settings={"kernel": kernel})
        for kernel in (3, 7, 31)
        for size in (14, 56)
        for dtype in (torch.float16, torch.float32)
    ),
)
