"""The long convolution as an `Operation`: its awkward cases, and what is compiled for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import SERVED_DTYPES
from kernels.long_conv import long_conv, long_conv_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, int, int],
    taps: int,
    *,
    transposed: bool = False,
    has_bias: bool = True,
    extreme: float | None = None,
    **settings: Any,
) -> Make:
    """Describe random inputs."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        batch, channels, length = shape
        x = draw(batch, length, channels).transpose(1, 2) if transposed else draw(*shape)
        if extreme is not None:
            x[0, 0, 2] = extreme
        arguments: Arguments = {"x": x, "kernel": draw(channels, taps), **settings}
        return arguments | ({"bias": draw(channels)} if has_bias else {})

    return make


_CASES = (
    Case(name="one value", why="a product", make=_make((1, 1, 1), 1)),
    Case(name="circular 7", why="wraps round a prime", make=_make((2, 3, 7), 7)),
    Case(name="two-sided 9", why="lags both ways", make=_make((3, 2, 9), 18)),
    Case(name="period 13 of 9", why="some lags meet others", make=_make((1, 2, 9), 13)),
    Case(name="period past all lags", why="taps that nothing meets", make=_make((1, 2, 5), 31)),
    Case(
        name="causal, short", why="fewer taps than values", make=_make((2, 2, 40), 5, causal=True)
    ),
    Case(
        name="causal, long", why="taps that nothing meets", make=_make((2, 2, 20), 50, causal=True)
    ),
    Case(name="circular 256", why="the transform itself", make=_make((2, 1, 256), 256)),
    Case(name="128", why="the longest for 256", make=_make((1, 1, 128), 256)),
    Case(name="129", why="the shortest for 512", make=_make((1, 1, 129), 258)),
    Case(
        name="1,000",
        why="the longest transform",
        make=_make((1, 1, 1000), 1000, causal=True),
        dtypes=(torch.float16, torch.bfloat16),
    ),
    Case(
        name="odd batch",
        why="a sequence without a partner",
        make=_make((5, 1, 6), 12, has_bias=False),
    ),
    Case(name="transposed", why="the copy", make=_make((2, 3, 6), 12, transposed=True)),
    Case(
        name="half precision",
        why="every dtype",
        make=_make((2, 2, 30), 60),
        interpreted=SERVED_DTYPES,
    ),
    *(
        Case(
            name=str(value),
            why="spoils its sequence, and not the one that shares its transform",
            make=_make((2, 2, 6), 12, extreme=value),
            gradients=False,
        )
        for value in (float("nan"), float("inf"))
    ),
)


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.long_conv_sources import sources

    return sources(**problem)


LONG_CONV = Operation(
    name="long_conv",
    run=long_conv,
    plain=long_conv_plain,
    cases=_CASES,
    dtypes=SERVED_DTYPES,
    gradients=("x", "kernel", "bias"),
    sources=_sources,
    letters="BxCxL",
    settings={"causal": False},
    problems=(
        *(Problem(dtype=torch.float16, shape=(64, 96, length)) for length in (128, 256, 512, 1000)),
        *(Problem(dtype=torch.float32, shape=(64, 96, length)) for length in (128, 196, 512)),
    ),
)
