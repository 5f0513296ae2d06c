"""The dilated re-parameterised convolution as an `Operation`, with the depthwise kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import SERVED_DTYPES
from kernels.dilated_reparam import dilated_reparam_conv2d, dilated_reparam_conv2d_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, int, int, int],
    kernel: int,
    branches: tuple[tuple[int, int], ...],
    **settings: Any,
) -> Make:
    """Describe random inputs; branches are kernel sizes with dilations."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        channels = shape[1]
        return {
            "x": draw(*shape).contiguous(memory_format=torch.channels_last),
            "weight": draw(channels, 1, kernel, kernel),
            "branches": [(draw(channels, 1, size, size), step) for size, step in branches],
            "bias": draw(channels),
            **settings,
        }

    return make


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.depthwise_conv_sources import sources

    return {"forward": sources(**problem)["forward"]}


_PAPER = ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5))

DILATED_REPARAM = Operation(
    name="dilated_reparam",
    run=dilated_reparam_conv2d,
    plain=dilated_reparam_conv2d_plain,
    cases=(
        Case(
            name="7, three branches",
            why="overlapping taps",
            make=_make((1, 4, 5, 6), 7, ((5, 1), (3, 2), (3, 3))),
            interpreted=SERVED_DTYPES,
        ),
        Case(
            name="13, the paper's branches",
            why="the block as published",
            make=_make((1, 2, 4, 4), 13, _PAPER, activation="gelu"),
            gradients=False,
        ),
        Case(name="no branch", why="nothing to merge", make=_make((1, 2, 3, 3), 3, ())),
        Case(name="1 x 1 branch", why="a single tap", make=_make((1, 2, 3, 3), 3, ((1, 5),))),
    ),
    dtypes=SERVED_DTYPES,
    gradients=("x", "weight", "bias"),
    sources=_sources,
    letters="BxCxHxW",
    settings={"kernel": 13, "activation": "none", "channels_last": True},
    problems=(
        Problem(dtype=torch.float16, shape=(64, 96, 56, 56)),
        Problem(dtype=torch.float16, shape=(1, 96, 56, 56)),
    ),
)
