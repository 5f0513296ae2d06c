"""The dense convolution as an `Operation`: its awkward cases, and what is compiled for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import ACTIVATIONS, SERVED_DTYPES
from kernels.dense_conv import dense_conv2d, dense_conv2d_plain, output_shape
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, int, int, int],
    columns: int,
    kernel: int,
    *,
    layout: str = "channels_last",
    extreme: float | None = None,
    has_bias: bool = True,
    has_residual: bool = True,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    activation: str = "none",
) -> Make:
    """Describe random inputs; `extreme` replaces one pixel of the last channel."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        x, weight = draw(*shape), draw(columns, shape[1], kernel, kernel)
        if extreme is not None:
            x[0, -1, 0, -1] = extreme
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
            weight = weight.contiguous(memory_format=torch.channels_last)
        if layout == "transposed":
            x = x.transpose(2, 3)
        if layout == "sliced":
            x = torch.cat([x, x], dim=1)[:, 1 : 1 + shape[1]]
        residual = draw(*output_shape(x, weight, stride, padding, dilation))
        return {
            "x": x,
            "weight": weight,
            "bias": draw(columns) if has_bias else None,
            "residual": residual if has_residual else None,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "activation": activation,
        }

    return make


_SIZES = (
    Case(name="one channel", why="a run of 3 elements", make=_make((1, 1, 5, 4), 1, 3, padding=1)),
    Case(
        name="stem 7",
        why="a run of 21 elements, stride 2 on an odd size",
        make=_make((1, 3, 9, 7), 17, 7, stride=2, padding=3),
    ),
    Case(name="32 channels", why="whole taps a step", make=_make((1, 32, 4, 5), 3, 3, padding=1)),
    Case(
        name="33 channels",
        why="steps that straddle taps, and a split window",
        make=_make((1, 33, 3, 4), 2, 3, padding=1, activation="gelu"),
    ),
    Case(name="kernel 1", why="stride 2 on an odd size", make=_make((2, 5, 5, 3), 4, 1, stride=2)),
    Case(
        name="kernel 2",
        why="even, stride 2 on an even size",
        make=_make((1, 3, 6, 4), 4, 2, stride=2),
    ),
    Case(name="kernel 4", why="even, padded", make=_make((1, 2, 4, 5), 3, 4, padding=2)),
    Case(name="kernel 6", why="as large as the map", make=_make((1, 2, 6, 6), 3, 6)),
    Case(name="kernel 5", why="past the map", make=_make((1, 2, 2, 3), 3, 5, padding=2)),
    Case(
        name="dilation 2, whole taps",
        why="taps apart",
        make=_make((1, 16, 5, 5), 3, 3, padding=2, dilation=2),
    ),
    Case(
        name="dilation 2, stride 2",
        why="both at once, steps that straddle taps",
        make=_make((1, 3, 7, 6), 2, 3, padding=1, dilation=2, stride=2),
    ),
    Case(
        name="padding 3",
        why="windows in the padding alone",
        make=_make((1, 2, 2, 2), 2, 2, padding=3),
    ),
    Case(
        name="two images, 9 x 9",
        why="tiles across images",
        make=_make((2, 2, 9, 9), 18, 3, padding=1),
    ),
    Case(
        name="no bias, no residual",
        why="missing arguments, and relu keeps its output only",
        make=_make((1, 3, 4, 4), 3, 3, has_bias=False, has_residual=False, activation="relu"),
    ),
)

_ACTIVATIONS = tuple(
    Case(
        name=name,
        why="every activation in every dtype",
        make=_make((1, 3, 4, 4), 5, 3, padding=1, activation=name),
        interpreted=SERVED_DTYPES,
    )
    for name in ACTIVATIONS
)

_LAYOUTS = tuple(
    Case(
        name=layout,
        why="strides that a copy must undo",
        make=_make((2, 4, 4, 3), 3, 3, layout=layout),
    )
    for layout in ("channels_first", "transposed", "sliced")
)

_EXTREMES = tuple(
    Case(
        name=f"{value}",
        why="must reach exactly what sees it",
        make=_make((1, 2, 6, 6), 3, 3, padding=1, extreme=value),
        gradients=False,
    )
    for value in (float("nan"), float("inf"), -float("inf"))
)


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.dense_conv_sources import sources

    return sources(**problem)


DENSE_CONV = Operation(
    name="dense_conv",
    run=dense_conv2d,
    plain=dense_conv2d_plain,
    cases=(*_SIZES, *_ACTIVATIONS, *_LAYOUTS, *_EXTREMES),
    dtypes=SERVED_DTYPES,
    gradients=("x", "weight", "bias", "residual"),
    sources=_sources,
    letters="BxCxHxW",
    settings={
        **{"columns": 64, "kernel": 3, "stride": 1, "padding": 1, "dilation": 1},
        "activation": "none",
    },
    problems=(
        *(
            Problem(dtype=dtype, shape=(batch, 128, 28, 28), settings={"columns": 128})
            for batch in (1, 64)
            for dtype in (torch.float16, torch.float32)
        ),
        Problem(
            dtype=torch.float16,
            shape=(64, 3, 224, 224),
            settings={"columns": 64, "kernel": 7, "stride": 2, "padding": 3},
        ),
        Problem(
            dtype=torch.float16,
            shape=(1, 256, 14, 14),
            settings={"columns": 256, "padding": 2, "dilation": 2},
        ),
    ),
)
