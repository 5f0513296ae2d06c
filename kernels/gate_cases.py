"""The channel gates as `Operation`s: their awkward cases, and what is compiled for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import ACTIVATIONS, SERVED_DTYPES
from kernels.gate import eca, eca_plain, squeeze_excite, squeeze_excite_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, int, int, int],
    *,
    hidden: int | None = None,
    taps: int | None = None,
    layout: str = "contiguous",
    extreme: float | None = None,
    **settings: Any,
) -> Make:
    """Describe random inputs, of squeeze-excite if `hidden` is given, else of ECA."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        x = draw(*shape)
        if extreme is not None:
            x[0, 0, 0, 0] = extreme
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        if layout == "transposed":
            x = x.transpose(2, 3)
        if layout == "sliced":
            x = torch.cat([x, x], dim=1)[:, 1 : 1 + shape[1]]
        channels = shape[1]
        if hidden is None:
            assert taps is not None
            return {"x": x, "weight": draw(taps), **settings}
        return {
            "x": x,
            "squeeze_weight": draw(hidden, channels),
            "squeeze_bias": draw(hidden),
            "excite_weight": draw(channels, hidden),
            "excite_bias": draw(channels),
            **settings,
        }

    return make


def _cases(**fixed: Any) -> tuple[Case, ...]:
    def case(name: str, why: str, shape: tuple[int, int, int, int], **more: Any) -> Case:
        return Case(name=name, why=why, make=_make(shape, **fixed, **more))

    last = {"layout": "channels_last"}
    return (
        case("one value", "nothing to pool", (1, 1, 1, 1)),
        case("3 x 5 channels-last", "under every block", (2, 7, 3, 5), **last),
        case("3 x 5", "the other layout", (2, 7, 3, 5)),
        case("131 channels, 9 x 9", "past a block both ways", (1, 131, 9, 9), **last),
        case("65 x 65 of 9", "too large for one launch", (1, 9, 65, 65)),
        case("transposed", "the copy", (1, 3, 4, 5), layout="transposed"),
        case("sliced", "gaps that a copy must close", (2, 3, 4, 4), layout="sliced"),
        Case(
            name="half precision",
            why="every dtype",
            make=_make((2, 6, 4, 4), **fixed),
            interpreted=SERVED_DTYPES,
        ),
        *(
            Case(
                name=str(value),
                why="reaches the channels that look at its own",
                make=_make((2, 6, 3, 3), extreme=value, **fixed),
                gradients=False,
            )
            for value in (float("nan"), float("inf"), -float("inf"))
        ),
    )


def _squeeze_excite_sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.gate_sources import squeeze_excite_sources

    return squeeze_excite_sources(**problem)


def _eca_sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.gate_sources import eca_sources

    return eca_sources(**problem)


_FIRST = {"channels_last": False}

SQUEEZE_EXCITE = Operation(
    name="squeeze_excite",
    run=squeeze_excite,
    plain=squeeze_excite_plain,
    cases=(
        *_cases(hidden=9),
        Case(
            name="hidden 1",
            why="under a block",
            make=_make((1, 3, 2, 2), hidden=1),
        ),
        Case(
            name="hidden 65",
            why="past a class",
            make=_make((1, 3, 2, 2), hidden=65),
        ),
        *(
            Case(
                name=name,
                why="every activation",
                make=_make((1, 3, 2, 2), hidden=8, activation=name),
            )
            for name in ACTIVATIONS
        ),
    ),
    dtypes=SERVED_DTYPES,
    gradients=("x", "squeeze_weight", "squeeze_bias", "excite_weight", "excite_bias"),
    sources=_squeeze_excite_sources,
    letters="BxCxHxW",
    settings={"reduction": 4, "activation": "relu", "channels_last": True},
    # One launch and three, both sizes of the hidden layer, both layouts.
    problems=(
        Problem(dtype=torch.float16, shape=(1, 240, 7, 7)),
        Problem(dtype=torch.float16, shape=(1, 576, 7, 7), settings=_FIRST),
        Problem(dtype=torch.float32, shape=(1, 576, 7, 7)),
        Problem(dtype=torch.float16, shape=(1, 960, 14, 14)),
        Problem(dtype=torch.float32, shape=(1, 96, 56, 56), settings=_FIRST),
    ),
)

ECA = Operation(
    name="eca",
    run=eca,
    plain=eca_plain,
    cases=(
        *_cases(taps=3),
        Case(name="one tap", why="no neighbours", make=_make((1, 3, 2, 2), taps=1)),
        Case(name="7 taps of 3", why="more taps than channels", make=_make((1, 3, 2, 2), taps=7)),
    ),
    dtypes=SERVED_DTYPES,
    gradients=("x", "weight"),
    sources=_eca_sources,
    letters="BxCxHxW",
    settings={"channels_last": True},
    problems=(
        Problem(dtype=torch.float16, shape=(1, 512, 14, 14)),
        Problem(dtype=torch.float32, shape=(1, 64, 56, 56), settings=_FIRST),
    ),
)
