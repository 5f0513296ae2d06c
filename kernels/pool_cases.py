"""The pools as `Operation`s: their awkward cases, and what is compiled for them."""

from __future__ import annotations

from typing import Any

import torch

from kernels.aot import KernelSource
from kernels.backend import SERVED_DTYPES
from kernels.global_pool import (
    gem_pool,
    gem_pool_plain,
    global_average_pool,
    global_average_pool_plain,
)
from kernels.operation import Arguments, Case, Make, Operation, Problem
from kernels.pool import average_pool2d, average_pool2d_plain, max_pool2d, max_pool2d_plain


def _make(
    shape: tuple[int, ...],
    *,
    layout: str = "contiguous",
    extreme: float | None = None,
    levels: int | None = None,
    exponent: float | None = None,
    **settings: Any,
) -> Make:
    """Describe random inputs; `levels` rounds them to so many values to a unit: some tie."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        x = torch.randn(shape, generator=generator)
        if exponent is not None:
            x = x + 1
        if levels is not None:
            x = (x * levels).round() / levels
        if extreme is not None:
            x.view(-1)[x.numel() // 2] = extreme
        x = x.to(device, dtype)
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        if layout == "transposed":
            x = x.transpose(2, 3)
        if layout == "sliced":
            x = torch.cat([x, x], dim=1)[:, 1 : 1 + shape[1]]
        more: Arguments = {}
        if exponent is not None:
            more["exponent"] = torch.tensor([exponent], dtype=dtype, device=device)
        return {"x": x, **more, **settings}

    return make


def _window_cases(**fixed: Any) -> tuple[Case, ...]:
    def case(name: str, why: str, shape: tuple[int, ...], **more: Any) -> Case:
        interpreted = more.pop("interpreted", None)
        make = _make(shape, **{**fixed, **more})
        return Case(name=name, why=why, make=make, interpreted=interpreted)

    last = {"layout": "channels_last"}
    return (
        case("one pixel", "a window of one value", (2, 3, 1, 1), kernel=1),
        case("2 x 2", "windows that do not overlap", (2, 3, 6, 4), kernel=2),
        case("odd size", "pixels in no window", (1, 3, 7, 5), kernel=2, stride=2),
        case(
            "3, stride 1",
            "every pixel in nine windows",
            (2, 5, 5, 7),
            kernel=3,
            stride=1,
            padding=1,
        ),
        case("3, stride 2", "the stem's", (1, 5, 9, 7), kernel=3, stride=2, padding=1, **last),
        case("stride past the window", "pixels between windows", (1, 2, 9, 8), kernel=2, stride=3),
        case("7 in 4 x 5", "windows past the map", (1, 2, 4, 5), kernel=7, stride=1, padding=3),
        case(
            "33 channels", "one past a block", (1, 33, 3, 4), kernel=3, padding=1, stride=1, **last
        ),
        case("65 channels", "past the other class", (1, 65, 3, 3), kernel=2, stride=1, **last),
        case("17 x 19", "several blocks of pixels", (1, 2, 17, 19), kernel=3, stride=1),
        case("transposed", "the copy", (1, 2, 4, 5), layout="transposed", kernel=2),
        case("sliced", "gaps that a copy must close", (2, 3, 4, 4), layout="sliced", kernel=2),
        case("ties", "the first of equal values", (1, 4, 6, 6), kernel=3, stride=1, levels=1),
        case(
            "half precision",
            "every dtype",
            (1, 5, 6, 6),
            kernel=3,
            stride=2,
            padding=1,
            interpreted=SERVED_DTYPES,
            **last,
        ),
    )


def _extremes(gradients: bool, **settings: Any) -> tuple[Case, ...]:
    return tuple(
        Case(
            name=f"{value}{' channels-last' if layout == 'channels_last' else ''}",
            why="must reach exactly what sees it",
            make=_make((1, 2, 5, 5), extreme=value, layout=layout, **settings),
            gradients=gradients,
        )
        for value in (float("nan"), float("inf"), -float("inf"))
        for layout in ("contiguous", "channels_last")
    )


def _global_cases(**fixed: Any) -> tuple[Case, ...]:
    def case(name: str, why: str, shape: tuple[int, ...], **more: Any) -> Case:
        interpreted = more.pop("interpreted", None)
        make = _make(shape, **{**fixed, **more})
        # Of one pixel the exponent's gradient is 0, as two terms of about 1 cancel.
        return Case(name=name, why=why, make=make, interpreted=interpreted, scale=1.0)

    last = {"layout": "channels_last"}
    return (
        case("one pixel", "nothing to add up", (2, 3, 1, 1)),
        case("7 x 7", "one part", (3, 5, 7, 7)),
        case("7 x 7 channels-last", "two parts", (3, 65, 7, 7), **last),
        case("29 x 31", "several parts, the last not full", (1, 2, 29, 31)),
        case("29 x 31 channels-last", "several parts", (1, 3, 29, 31), **last),
        case("transposed", "the copy", (2, 3, 4, 5), layout="transposed"),
        case("sliced", "gaps that a copy must close", (2, 3, 4, 4), layout="sliced"),
        case("half precision", "every dtype", (2, 5, 6, 6), interpreted=SERVED_DTYPES),
    )


def _max_sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.pool_sources import window_sources

    return window_sources(maximum=True, **problem)


def _average_sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.pool_sources import window_sources

    return window_sources(maximum=False, **problem)


def _mean_sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.pool_sources import global_sources

    return global_sources(generalised=False, **problem)


def _gem_sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.pool_sources import global_sources

    return global_sources(generalised=True, **problem)


# Both layouts in both classes of the table.
_PROBLEMS = (
    Problem(dtype=torch.float16, shape=(1, 64, 112, 112)),
    Problem(dtype=torch.float32, shape=(1, 32, 56, 56)),
    Problem(dtype=torch.float16, shape=(1, 64, 112, 112), settings={"channels_last": False}),
    Problem(dtype=torch.float16, shape=(1, 512, 7, 7), settings={"channels_last": False}),
)
_WINDOW: dict[str, int | bool | str] = {
    "kernel": 3,
    "stride": 2,
    "padding": 1,
    "channels_last": True,
}
# What a mean does otherwise than a maximum, which has them all.
_FEWER = ("odd size", "3, stride 2", "7 in 4 x 5", "17 x 19", "half precision")
_GENERALISED = (
    Case(
        name="half the values clamped",
        why="no gradient below eps",
        make=_make((2, 3, 4, 5), exponent=3.0, eps=1.0),
    ),
    Case(
        name="exponent 1",
        why="the mean, all powers 1",
        make=_make((2, 3, 4, 5), exponent=1.0),
    ),
)

MAX_POOL = Operation(
    name="max_pool",
    run=max_pool2d,
    plain=max_pool2d_plain,
    cases=(*_window_cases(), *_extremes(True, kernel=3, stride=1, padding=1)),
    dtypes=SERVED_DTYPES,
    gradients=("x",),
    sources=_max_sources,
    letters="BxCxHxW",
    settings=_WINDOW,
    problems=_PROBLEMS,
)

AVERAGE_POOL = Operation(
    name="average_pool",
    run=average_pool2d,
    plain=average_pool2d_plain,
    cases=(
        *(case for case in _window_cases(count_include_pad=False) if case.name in _FEWER),
        Case(
            name="padding counts",
            why="the other mean",
            make=_make((1, 3, 6, 5), kernel=3, stride=2, padding=1),
        ),
        *_extremes(False, kernel=3, stride=1, padding=1)[:3],
    ),
    dtypes=SERVED_DTYPES,
    gradients=("x",),
    sources=_average_sources,
    letters="BxCxHxW",
    settings=_WINDOW,
    problems=_PROBLEMS,
)

GLOBAL_AVERAGE_POOL = Operation(
    name="global_average_pool",
    run=global_average_pool,
    plain=global_average_pool_plain,
    cases=(*_global_cases(), *_extremes(False)),
    dtypes=SERVED_DTYPES,
    gradients=("x",),
    sources=_mean_sources,
    letters="BxCxHxW",
    settings={"channels_last": True},
    problems=_PROBLEMS,
)

GEM_POOL = Operation(
    name="gem_pool",
    run=gem_pool,
    plain=gem_pool_plain,
    cases=(*_global_cases(exponent=3.0), *_GENERALISED, *_extremes(False, exponent=3.0)),
    dtypes=SERVED_DTYPES,
    gradients=("x", "exponent"),
    sources=_gem_sources,
    letters="BxCxHxW",
    settings={"channels_last": True},
    problems=_PROBLEMS,
)
