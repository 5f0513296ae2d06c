"""Layer norm and RMS norm as `Operation`s: awkward cases, and what is compiled for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import ACTIVATIONS, SERVED_DTYPES
from kernels.norm import layer_norm, layer_norm_plain, rms_norm, rms_norm_plain
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, ...],
    *,
    rms: bool,
    layout: str = "contiguous",
    extreme: float | None = None,
    offset: float = 0.0,
    has_weight: bool = True,
    has_bias: bool = True,
    **settings: Any,
) -> Make:
    """Describe random inputs; `extreme` replaces one value, `offset` moves them all."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        x = draw(*shape) + offset
        if extreme is not None:
            x.view(-1)[x.numel() // 2] = extreme
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        if layout == "sliced":
            x = torch.cat([x, x], dim=-1)[..., 1 : 1 + shape[-1]]
        channels = shape[settings.get("channel_dim", -1)]
        arguments: Arguments = {"x": x, **settings}
        if has_weight:
            arguments["weight"] = draw(channels)
        if has_bias and not rms:
            arguments["bias"] = draw(channels)
        return arguments

    return make


def _cases(rms: bool) -> tuple[Case, ...]:
    def case(name: str, why: str, shape: tuple[int, ...], scale: float = 0.0, **more: Any) -> Case:
        return Case(name=name, why=why, make=_make(shape, rms=rms, **more), scale=scale)

    return (
        # One centred value is 0, and so are its gradients: errors are those of cancelled terms.
        case("one channel", "its own mean", (3, 1), scale=10.0),
        case("one row", "fewer rows than a block", (1, 7)),
        case("17 x 31", "primes past a block of rows", (17, 31)),
        case("33 channels", "one past a power of two", (3, 5, 33)),
        case("1,025 channels", "a row that is a program's all", (2, 1025)),
        case("4,099 channels", "the widest class", (2, 4099)),
        case("channels first", "the copy", (2, 6, 3, 4), channel_dim=1),
        case("channels last", "no copy", (2, 6, 3, 4), channel_dim=1, layout="channels_last"),
        case("sliced", "gaps that a copy must close", (4, 5), layout="sliced"),
        case("mean of 100", "cancellation in the variance", (4, 40), offset=100.0),
        case("no vectors", "missing arguments", (4, 6), has_weight=False, has_bias=False),
        *(
            Case(
                name=name,
                why="every activation in every dtype",
                make=_make((5, 12), rms=rms, activation=name),
                interpreted=SERVED_DTYPES,
            )
            for name in ACTIVATIONS
        ),
        *(
            Case(
                name=f"{value} {activation}",
                why="spoils its row alone",
                make=_make((3, 6), rms=rms, extreme=value, activation=activation),
                gradients=False,
            )
            for value in (float("nan"), float("inf"), -float("inf"))
            for activation in ("none", "relu")
        ),
    )


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.norm_sources import sources

    return sources(**problem)


def _rms_sources(**problem: Any) -> dict[str, KernelSource]:
    return _sources(rms=True, **problem)


# A size of channels in every class of the table.
_PROBLEMS = tuple(
    Problem(dtype=dtype, shape=(1, 784, channels))
    for channels, dtype in (
        *((channels, torch.float16) for channels in (48, 96, 768, 2048, 4096)),
        *((channels, torch.float32) for channels in (96, 8192)),
    )
)

LAYER_NORM = Operation(
    name="layer_norm",
    run=layer_norm,
    plain=layer_norm_plain,
    cases=_cases(rms=False),
    dtypes=SERVED_DTYPES,
    gradients=("x", "weight", "bias"),
    sources=_sources,
    letters="BxNxC",
    settings={"activation": "none"},
    problems=_PROBLEMS,
)

RMS_NORM = Operation(
    name="rms_norm",
    run=rms_norm,
    plain=rms_norm_plain,
    cases=_cases(rms=True),
    dtypes=SERVED_DTYPES,
    gradients=("x", "weight"),
    sources=_rms_sources,
    letters="BxNxC",
    settings={"activation": "none"},
    problems=(_PROBLEMS[1], _PROBLEMS[-1]),
)
