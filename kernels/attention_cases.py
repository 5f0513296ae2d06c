"""Attention as an `Operation`: its awkward cases, and what is compiled for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.attention import attention, attention_plain
from kernels.backend import SERVED_DTYPES
from kernels.operation import Arguments, Case, Make, Operation, Problem


def _make(
    shape: tuple[int, int, int, int],
    *,
    keys: int | None = None,
    entries: tuple[int, int] | None = None,
    hidden: str = "none",
    joined: bool = False,
    extreme: float | None = None,
    **settings: Any,
) -> Make:
    """Describe random inputs; `entries` of a bias, which hides keys from some or all queries."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        batch, heads, queries, features = shape
        count = queries if keys is None else keys
        if joined:
            # As a linear layer makes them: one tensor, rows far apart.
            parts = draw(batch, queries, 3 * heads * features).chunk(3, dim=-1)
            q, k, v = (part.view(batch, queries, heads, features).transpose(1, 2) for part in parts)
        else:
            q, k, v = draw(*shape), *(draw(batch, heads, count, features) for _ in range(2))
        if extreme is not None:
            q[0, 0, 1, 0] = extreme
        arguments: Arguments = {"q": q, "k": k, "v": v, **settings}
        if entries is not None:
            bias = draw(*entries, queries, count)
            if hidden == "some":
                bias[..., 1::2] = -torch.inf
            if hidden == "all":
                bias[..., 1, :] = -torch.inf
            arguments["bias"] = bias
        return arguments

    return make


_CASES = (
    Case(name="one score", why="nothing to weigh", make=_make((1, 1, 1, 16)), scale=1.0),
    Case(name="65 queries", why="one past a block", make=_make((1, 2, 65, 16))),
    Case(name="3 queries of 71 keys", why="two lengths", make=_make((1, 2, 3, 32), keys=71)),
    Case(name="causal 67", why="past a block", make=_make((1, 1, 67, 16), causal=True)),
    Case(
        name="causal, more keys",
        why="keys that no query sees",
        make=_make((1, 1, 5, 16), keys=9, causal=True),
    ),
    Case(
        name="causal, more queries",
        why="queries that see all keys",
        make=_make((1, 1, 9, 16), keys=5, causal=True),
    ),
    Case(name="head of 24", why="no power of two", make=_make((2, 2, 7, 24))),
    Case(name="head of 8", why="under a product's least size", make=_make((1, 1, 7, 8))),
    Case(name="head of 128", why="the largest", make=_make((1, 1, 9, 128))),
    Case(
        name="window of 49",
        why="Swin's: a bias for every window of an image",
        make=_make((4, 1, 49, 32), entries=(2, 1), joined=True),
    ),
    Case(
        name="one bias for all heads",
        why="summed over batch and heads",
        make=_make((2, 2, 9, 16), entries=(1, 1)),
    ),
    Case(
        name="mask",
        why="-inf hides keys",
        make=_make((1, 2, 9, 16), entries=(1, 1), hidden="some"),
    ),
    Case(
        name="blind query",
        why="all its scores are -inf",
        make=_make((1, 1, 5, 16), entries=(1, 1), hidden="all"),
    ),
    Case(
        name="scale of 4",
        why="scores that would overflow an exponential",
        make=_make((1, 1, 9, 64), scale=4.0),
        dtypes=(torch.float32,),
    ),
    Case(
        name="half precision",
        why="every dtype",
        make=_make((2, 1, 19, 16), entries=(2, 1), causal=True),
        interpreted=SERVED_DTYPES,
    ),
    *(
        Case(
            name=str(value),
            why="spoils its query alone",
            make=_make((1, 1, 5, 16), extreme=value),
            gradients=False,
        )
        for value in (float("nan"), float("inf"))
    ),
)


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.attention_sources import sources

    return sources(**problem)


ATTENTION = Operation(
    name="attention",
    run=attention,
    plain=attention_plain,
    cases=_CASES,
    dtypes=SERVED_DTYPES,
    gradients=("q", "k", "v", "bias"),
    sources=_sources,
    letters="BxHxNxE",
    settings={"causal": False, "bias": False},
    # Every class of the table; sizes that are no multiples of 16 take the most registers.
    problems=(
        Problem(dtype=torch.float16, shape=(64, 3, 49, 32), settings={"bias": True}),
        Problem(dtype=torch.float16, shape=(1, 3, 196, 32), settings={"bias": True}),
        Problem(dtype=torch.float16, shape=(1, 6, 196, 64), settings={"causal": True}),
        Problem(dtype=torch.float16, shape=(1, 6, 196, 128), settings={"bias": True}),
        Problem(dtype=torch.float32, shape=(1, 6, 196, 128), settings={"bias": True}),
    ),
)
