"""The Inception depthwise convolution as an `Operation`: its cases, and what is compiled for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource, specialise
from kernels.backend import SERVED_DTYPES
from kernels.inception_depthwise import (
    inception_depthwise_conv2d,
    inception_depthwise_conv2d_plain,
)
from kernels.inception_depthwise_blocks import launch_for
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, int, int, int],
    group: int,
    taps: tuple[int, int] = (3, 5),
    *,
    channels_last: bool = True,
    biases: bool = True,
    extreme: float | None = None,
) -> Make:
    """Describe random inputs; `extreme` replaces the first pixel of every channel."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        x = draw(*shape)
        if extreme is not None:
            x[:, :, 0, 0] = extreme
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        size, length = taps
        arguments = {
            "x": x,
            "square_weight": draw(group, 1, size, size),
            "row_weight": draw(group, 1, 1, length),
            "column_weight": draw(group, 1, length, 1),
        }
        if biases:
            names = ("square_bias", "row_bias", "column_bias")
            arguments |= {name: draw(group) for name in names}
        return arguments

    return make


_CASES = (
    Case(
        name="every dtype",
        why="all branches, channels past a block",
        make=_make((1, 20, 5, 4), 2),
        interpreted=SERVED_DTYPES,
    ),
    Case(
        name="channels-first", why="other strides", make=_make((2, 7, 4, 5), 2, channels_last=False)
    ),
    Case(name="no identity", why="3 G = C", make=_make((1, 6, 5, 5), 2)),
    Case(name="one channel each", why="the smallest group", make=_make((1, 5, 3, 4), 1)),
    Case(name="17 of a group", why="one past a block", make=_make((1, 52, 2, 3), 17)),
    Case(name="band of 11", why="past the map; the paper's", make=_make((1, 8, 4, 5), 1, (3, 11))),
    Case(name="9 x 17", why="several tiles both ways", make=_make((1, 4, 9, 17), 1)),
    Case(name="one pixel", why="all taps but one are padding", make=_make((2, 4, 1, 1), 1)),
    Case(name="no biases", why="missing arguments", make=_make((1, 8, 4, 4), 2, biases=False)),
    Case(
        name="nan", why="must reach what sees it", make=_make((1, 8, 7, 7), 2, extreme=float("nan"))
    ),
    Case(
        name="inf", why="must reach what sees it", make=_make((1, 8, 7, 7), 2, extreme=float("inf"))
    ),
)


def _sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    square: int = 3,
    band: int = 11,
    group: int = 0,
    channels_last: bool = True,
) -> dict[str, KernelSource]:
    """Say what would be compiled; a group of 0 channels stands for an eighth, as in the paper."""
    from kernels.inception_depthwise_triton import inception_depthwise_kernel

    batch, channels, height, width = shape
    group = group or channels // 8
    if not 0 < 3 * group <= channels or min(square, band) < 1 or not square % 2 or not band % 2:
        raise ValueError(
            f"group must be from 1 to a third of {channels} channels, square and band odd; got "
            f"group {group}, square {square}, band {band}"
        )
    plan = launch_for(
        (batch, channels, height, width), group, (square, band), channels_last=channels_last
    )
    sizes = {"channels": channels, "group": group, "height": height, "width": width}
    sizes |= {"batch_stride": channels * height * width}
    return {
        "forward": specialise(
            inception_depthwise_kernel,
            constants=plan.constants,
            dtype=dtype,
            pointers={},
            multiples_of_16=[name for name, size in sizes.items() if size % 16 == 0],
            warps=plan.blocks.warps,
            programs=plan.programs,
        )
    }


def _problem(dtype: torch.dtype, *shape: int, **settings: Any) -> Problem:
    return Problem(dtype=dtype, shape=shape, settings=settings)


INCEPTION_DEPTHWISE = Operation(
    name="inception_depthwise",
    run=inception_depthwise_conv2d,
    plain=inception_depthwise_conv2d_plain,
    cases=_CASES,
    dtypes=SERVED_DTYPES,
    gradients=(
        *("x", "square_weight", "row_weight", "column_weight"),
        *("square_bias", "row_bias", "column_bias"),
    ),
    sources=_sources,
    letters="BxCxHxW",
    settings={"square": 3, "band": 11, "group": 0, "channels_last": True},
    problems=(
        *(
            _problem(torch.float16, *shape, channels_last=last)
            for last in (True, False)
            for shape in ((64, 96, 56, 56), (64, 384, 14, 14), (1, 384, 14, 14))
        ),
        _problem(torch.float32, 64, 96, 56, 56),
    ),
)
