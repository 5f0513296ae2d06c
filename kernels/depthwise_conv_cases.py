"""The depthwise convolution as an `Operation`: its awkward cases, and what is compiled for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import ACTIVATIONS, SERVED_DTYPES
from kernels.depthwise_conv import depthwise_conv2d, depthwise_conv2d_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _laid_out(x: Tensor, layout: str) -> Tensor:
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    if layout == "sliced":
        return torch.cat([x, x], dim=1)[:, 1 : 1 + x.shape[1]]
    return x


def _make(
    shape: tuple[int, int, int, int],
    kernel: int | tuple[int, int],
    *,
    layout: str = "channels_last",
    extreme: float | None = None,
    has_bias: bool = True,
    residual: str | None = None,
    **settings: Any,
) -> Make:
    """Describe random inputs.

    Args:
        shape: Of the input.
        kernel: Its size, or rows and columns.
        layout: Of the input.
        extreme: Replaces one pixel of the last channel.
        has_bias: Whether there is a bias.
        residual: Layout of the residual; None gives none.
        settings: Passed on.
    """
    taps = (kernel, kernel) if isinstance(kernel, int) else kernel

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        x = draw(*shape)
        if extreme is not None:
            x[0, -1, 0, -1] = extreme
        x = _laid_out(x, layout)
        arguments = {"x": x, "weight": draw(shape[1], 1, *taps), **settings}
        if has_bias:
            arguments["bias"] = draw(shape[1])
        if residual is not None:
            stride = settings.get("stride", 1)
            size = [*shape[:2], *((side - 1) // stride + 1 for side in shape[2:])]
            arguments["residual"] = _laid_out(draw(*size), residual)
        return arguments

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

_KERNELS = tuple(
    Case(name=f"{rows} x {columns}", why="not square", make=_make((1, 3, 5, 6), (rows, columns)))
    for rows, columns in ((1, 11), (11, 1), (3, 5), (1, 1))
)

# All kernels share the code of activations: the others are run in every dtype by `elementwise`.
_COMMON = ("none", "relu", "gelu", "silu")

_ACTIVATIONS = tuple(
    Case(
        name=name,
        why="every activation in every dtype",
        make=_make((1, 5, 5, 4), 3, activation=name),
        interpreted=SERVED_DTYPES if name in _COMMON else None,
    )
    for name in ACTIVATIONS
)

_RESIDUALS = tuple(
    Case(
        name=f"residual, {name}, {layout}",
        why="comes last, and hides the sign that relu's gradient needs",
        make=_make((1, 3, 5, 4), 3, activation=name, residual=layout, stride=stride),
    )
    for name, layout, stride in (
        ("none", "channels_last", 1),
        ("relu", "contiguous", 2),
        ("gelu", "transposed", 1),
    )
)

_LAYOUTS = tuple(
    Case(
        name=f"{layout}, {kernel} x {kernel}",
        why="read where it is, or copied and copied back",
        make=_make((2, 5, 5, 7), kernel, layout=layout, residual=layout, activation="relu"),
    )
    for layout in ("contiguous", "transposed", "sliced")
    for kernel in (3, 5)
)

_EXTREMES = tuple(
    Case(
        name=f"{value} {activation}",
        why="must reach exactly what sees it",
        make=_make((1, 2, 6, 6), 3, extreme=value, activation=activation),
        gradients=False,
    )
    for value in (float("nan"), float("inf"), -float("inf"))
    for activation in _COMMON
)


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.depthwise_conv_sources import sources

    return sources(**problem)


# Every entry of the table of blocks: few programs, and narrow and wide maps in a batch.
_PROBLEMS = (
    *(
        Problem(dtype=torch.float16, shape=shape, settings={"kernel": kernel})
        for kernel in (7, 3, 31)
        for shape in ((1, 96, 56, 56), (64, 384, 14, 14), (64, 96, 56, 56))
    ),
    Problem(dtype=torch.float32, shape=(1, 96, 56, 56), settings={"kernel": 31}),
    Problem(dtype=torch.float32, shape=(64, 96, 56, 56), settings={"kernel": 7}),
    *(
        Problem(
            dtype=torch.float16, shape=shape, settings={"kernel": kernel, "channels_last": False}
        )
        for kernel, shape in (
            (3, (1, 96, 56, 56)),
            (7, (1, 96, 56, 56)),
            (31, (1, 96, 56, 56)),
            (3, (64, 384, 14, 14)),
            (3, (64, 96, 56, 56)),
        )
    ),
)

DEPTHWISE_CONV = Operation(
    name="depthwise_conv",
    run=depthwise_conv2d,
    plain=depthwise_conv2d_plain,
    cases=(*_SIZES, *_KERNELS, *_ACTIVATIONS, *_RESIDUALS, *_LAYOUTS, *_EXTREMES),
    dtypes=SERVED_DTYPES,
    gradients=("x", "weight", "bias", "residual"),
    sources=_sources,
    letters="BxCxHxW",
    settings={
        "kernel": 7,
        "kernel_rows": 0,
        "stride": 1,
        "dilation": 1,
        "activation": "none",
        "residual": False,
        "channels_last": True,
    },
    problems=_PROBLEMS,
)
