"""Element-wise chains and batch norm as `Operation`s: awkward cases, and what is compiled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import ACTIVATIONS, SERVED_DTYPES
from kernels.elementwise import batch_norm, batch_norm_plain, elementwise, elementwise_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem, Settings


def _laid_out(x: Tensor, layout: str) -> Tensor:
    """The same values in another memory layout."""
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return x.transpose(-1, -2).contiguous().transpose(-1, -2)
    if layout == "sliced":
        return torch.cat([x, x], dim=1)[:, 1 : 1 + x.shape[1]]
    return x


def _make(
    shape: tuple[int, ...],
    *,
    norm: bool = False,
    layout: str = "contiguous",
    residual: str | None = None,
    extreme: float | None = None,
    vectors: bool = True,
    **settings: Any,
) -> Make:
    """Describe random inputs; `extreme` replaces one value, `residual` is a layout."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        x = draw(*shape)
        if extreme is not None:
            x.view(-1)[x.numel() // 2] = extreme
        channels = shape[settings.get("channel_dim", 1)]
        arguments: Arguments = {"x": _laid_out(x, layout), **settings}
        if norm:
            arguments |= {"mean": draw(channels), "variance": draw(channels).square() + 0.5}
        if vectors:
            arguments |= {"bias": draw(channels)} | ({"weight": draw(channels)} if norm else {})
        if residual is not None:
            arguments["residual"] = _laid_out(draw(*shape), residual)
        return arguments

    return make


def _cases(norm: bool) -> tuple[Case, ...]:
    def case(name: str, why: str, shape: tuple[int, ...], **more: Any) -> Case:
        return Case(name=name, why=why, make=_make(shape, norm=norm, **more))

    return (
        case("one value", "under every block", (1, 1, 1, 1)),
        case("3 channels of 5 x 7", "no power of two either way", (2, 3, 5, 7)),
        case(
            "33 channels, channels-last", "one past a block", (1, 33, 3, 3), layout="channels_last"
        ),
        case("1,025 pixels", "one past the widest block", (1, 2, 25, 41)),
        case("vectors", "nothing but channels", (3, 17)),
        case("sequences", "three dimensions", (2, 3, 9)),
        case("transposed", "strides that a copy must undo", (2, 3, 4, 5), layout="transposed"),
        case("sliced", "gaps that a copy must close", (2, 3, 4, 5), layout="sliced"),
        case("no vectors", "missing arguments", (2, 3, 4, 4), vectors=False),
        case(
            "two layouts",
            "the residual lies otherwise than x",
            (2, 5, 3, 4),
            layout="channels_last",
            residual="contiguous",
        ),
        case(
            "residual first",
            "the other order, and the other layout",
            (2, 5, 3, 4),
            residual="channels_last",
            residual_first=True,
            activation="relu",
        ),
        *(
            Case(
                name=name,
                why="every activation in every dtype",
                make=_make((2, 5, 3, 2), norm=norm, residual="contiguous", activation=name),
                interpreted=SERVED_DTYPES,
            )
            for name in ACTIVATIONS
        ),
        *(
            Case(
                name=f"{value} {activation}",
                why="must stay where it is",
                make=_make((1, 3, 3, 3), norm=norm, extreme=value, activation=activation),
                gradients=False,
            )
            for value in (float("nan"), float("inf"), -float("inf"))
            for activation in ACTIVATIONS
        ),
    )


_TOKENS = Case(
    name="tokens",
    why="channels behind the tokens",
    make=_make((2, 5, 6), channel_dim=-1, residual="transposed"),
)


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.elementwise_sources import sources

    return sources(**problem)


def _norm_sources(**problem: Any) -> dict[str, KernelSource]:
    return _sources(normalise=True, **problem)


_PROBLEMS = (
    Problem(dtype=torch.float16, shape=(1, 96, 28, 28), settings={"residual": "last"}),
    Problem(dtype=torch.float32, shape=(1, 96, 28, 28), settings={"residual": "first"}),
    Problem(dtype=torch.float16, shape=(1, 1024, 7, 7)),
    Problem(dtype=torch.float16, shape=(1, 96, 56, 56), settings={"channels_last": False}),
)
_SETTINGS: Settings = {"activation": "gelu", "residual": "none", "channels_last": True}

ELEMENTWISE = Operation(
    name="elementwise",
    run=elementwise,
    plain=elementwise_plain,
    cases=(*_cases(norm=False), _TOKENS),
    dtypes=SERVED_DTYPES,
    gradients=("x", "bias", "residual"),
    sources=_sources,
    letters="BxCxHxW",
    settings=_SETTINGS,
    problems=_PROBLEMS,
)

BATCH_NORM = Operation(
    name="batch_norm",
    run=batch_norm,
    plain=batch_norm_plain,
    cases=_cases(norm=True),
    dtypes=SERVED_DTYPES,
    gradients=("x", "weight", "bias", "residual"),
    sources=_norm_sources,
    letters="BxCxHxW",
    settings=_SETTINGS,
    problems=_PROBLEMS,
)
