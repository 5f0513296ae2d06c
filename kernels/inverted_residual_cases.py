"""The inverted-residual block as an `Operation`: its awkward cases, and what is compiled for it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import ACTIVATIONS, SERVED_DTYPES
from kernels.inverted_residual import inverted_residual, inverted_residual_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, int, int, int],
    expanded: int,
    columns: int,
    kernel: int = 3,
    *,
    layout: str = "channels_last",
    extreme: float | None = None,
    **settings: Any,
) -> Make:
    """Describe random inputs; `extreme` replaces one pixel of the last channel."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            """Draw weights that keep the size of what they are applied to."""
            drawn = torch.randn(size, generator=generator)
            return (drawn / math.sqrt(drawn[0].numel())).to(device, dtype)

        x = torch.randn(shape, generator=generator).to(device, dtype)
        if extreme is not None:
            x[0, -1, 0, -1] = extreme
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        if layout == "sliced":
            x = torch.cat([x, x], dim=1)[:, 1 : 1 + shape[1]]
        return {
            "x": x,
            "expand_weight": draw(expanded, shape[1], 1, 1),
            "expand_bias": draw(expanded),
            "depthwise_weight": draw(expanded, 1, kernel, kernel),
            "depthwise_bias": draw(expanded),
            "project_weight": draw(columns, expanded, 1, 1),
            "project_bias": draw(columns),
            **settings,
        }

    return make


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.inverted_residual_sources import sources

    return sources(**problem)


INVERTED_RESIDUAL = Operation(
    name="inverted_residual",
    run=inverted_residual,
    plain=inverted_residual_plain,
    cases=(
        Case(name="one pixel", why="all taps but one are padding", make=_make((1, 4, 1, 1), 5, 2)),
        Case(
            name="5 x 6",
            why="tiles cut off both ways, and the input added",
            make=_make((1, 3, 5, 6), 7, 3, residual=True),
        ),
        Case(
            name="kernel 5, stride 2",
            why="two images of odd and even size, past a block in all channels, split chunks",
            make=_make((2, 17, 6, 5), 33, 18, 5, stride=2, activation="silu"),
        ),
        Case(
            name="kernel 7",
            why="past the map",
            make=_make((1, 2, 3, 3), 4, 3, 7, activation="gelu"),
        ),
        *(
            Case(
                name=name,
                why="every activation in every dtype",
                make=_make((1, 3, 4, 4), 8, 3, activation=name, residual=True),
                interpreted=SERVED_DTYPES,
            )
            for name in ACTIVATIONS
        ),
        *(
            Case(
                name=layout,
                why="strides that a copy must undo",
                make=_make((2, 4, 3, 4), 6, 4, layout=layout, residual=True),
                gradients=False,
            )
            for layout in ("channels_first", "sliced")
        ),
        *(
            Case(
                name=str(value),
                why="must reach exactly what sees it",
                make=_make((1, 2, 5, 5), 3, 2, extreme=value),
                gradients=False,
            )
            for value in (float("nan"), float("inf"))
        ),
    ),
    dtypes=SERVED_DTYPES,
    gradients=(
        *("x", "expand_weight", "expand_bias", "depthwise_weight", "depthwise_bias"),
        *("project_weight", "project_bias"),
    ),
    sources=_sources,
    letters="BxCxHxW",
    settings={
        **{"expanded": 192, "columns": 32, "kernel": 3, "stride": 1},
        **{"activation": "relu", "residual": False},
    },
    problems=(
        Problem(dtype=torch.float16, shape=(1, 32, 28, 28), settings={"residual": True}),
        Problem(
            dtype=torch.float16,
            shape=(64, 192, 14, 14),
            settings={"expanded": 1152, "columns": 192, "kernel": 5, "residual": True},
        ),
        Problem(
            dtype=torch.float16,
            shape=(64, 24, 112, 112),
            settings={"expanded": 144, "columns": 40, "kernel": 5, "stride": 2},
        ),
        Problem(
            dtype=torch.float16,
            shape=(64, 24, 56, 56),
            settings={"expanded": 144, "columns": 40, "kernel": 7, "stride": 2},
        ),
        Problem(dtype=torch.float32, shape=(64, 32, 28, 28)),
        Problem(
            dtype=torch.float32,
            shape=(64, 24, 112, 112),
            settings={"expanded": 144, "columns": 40, "kernel": 5, "stride": 2},
        ),
        Problem(
            dtype=torch.float32,
            shape=(64, 24, 56, 56),
            settings={"expanded": 144, "columns": 40, "kernel": 7, "stride": 2},
        ),
    ),
)
