"""The product with 4-bit weights as an `Operation`: its awkward cases, and what is compiled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource
from kernels.backend import ACTIVATIONS
from kernels.operation import Arguments, Case, Make, Operation, Problem
from kernels.w4_gemm import pack_w4, w4_gemm, w4_gemm_plain

_DTYPES = (torch.float16, torch.bfloat16)


def _make(
    shape: tuple[int, ...],
    columns: int,
    *,
    group_size: int = 0,
    has_zero: bool = False,
    extreme: float | None = None,
    layout: str = "contiguous",
    fused: bool = False,
    activation: str = "none",
) -> Make:
    """Describe random inputs; `extreme` replaces one element of x."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).to(device, dtype)

        def steps(*size: int) -> Tensor:
            return torch.randint(0, 16, size, generator=generator, dtype=torch.uint8).to(device)

        inner = shape[-1]
        groups = inner // group_size if group_size else 1
        x = draw(*shape)
        if extreme is not None:
            x[0, -1] = extreme
        if layout == "transposed":
            x = x.t().contiguous().t()
        if layout == "sliced":
            x = torch.cat([x, x], dim=1)[:, 1 : 1 + inner]
        return {
            "x": x,
            "packed": pack_w4(steps(columns, inner)),
            "scale": draw(groups, columns),
            "zero": steps(groups, columns) if has_zero else None,
            "bias": draw(columns) if fused else None,
            "residual": draw(*shape[:-1], columns) if fused else None,
            "activation": activation,
        }

    return make


def _sources(**problem: Any) -> dict[str, KernelSource]:
    from kernels.w4_gemm_sources import sources

    return sources(**problem)


W4_GEMM = Operation(
    name="w4_gemm",
    run=w4_gemm,
    plain=w4_gemm_plain,
    cases=(
        Case(name="1 x 1 x 1", why="a word with one weight", make=_make((1, 1), 1)),
        Case(name="3 x 128 x 16", why="whole blocks only", make=_make((3, 128), 16)),
        Case(name="17 x 130 x 19", why="past a block every way", make=_make((17, 130), 19)),
        *(
            Case(
                name=f"groups of {size}",
                why="a step with groups past the last",
                make=_make((3, 192), 5, group_size=size, has_zero=True, fused=True),
                interpreted=_DTYPES,
            )
            for size in (32, 64)
        ),
        Case(
            name="groups of 128",
            why="a scale a step, symmetric",
            make=_make((2, 256), 3, group_size=128),
            interpreted=_DTYPES,
        ),
        Case(
            name="one group with a zero point",
            why="a scale and a zero point for all",
            make=_make((2, 200), 3, has_zero=True),
            interpreted=_DTYPES,
        ),
        Case(
            name="2 x 640 x 3",
            why="the inner dimension is split",
            make=_make((2, 640), 3, group_size=32, fused=True, activation="gelu"),
        ),
        Case(
            name="3 leading dimensions",
            why="rows are multiplied out",
            make=_make((2, 1, 3, 33), 5, fused=True, activation="relu"),
        ),
        *(
            Case(name=layout, why="strides of x", make=_make((4, 40), 5, layout=layout))
            for layout in ("transposed", "sliced")
        ),
        *(
            Case(
                name=f"nan {activation}",
                why="must reach its row and no other",
                make=_make((3, 40), 4, extreme=float("nan"), activation=activation),
                gradients=False,
            )
            for activation in ACTIVATIONS
        ),
    ),
    dtypes=_DTYPES,
    gradients=("x", "scale", "bias", "residual"),
    sources=_sources,
    letters="MxKxN",
    settings={"group_size": 128, "zero": False, "activation": "none"},
    problems=(
        *(Problem(dtype=torch.float16, shape=(rows, 4096, 4096)) for rows in (1, 32, 4096)),
        Problem(
            dtype=torch.bfloat16,
            shape=(1, 4096, 4096),
            settings={"group_size": 32, "zero": True},
        ),
        Problem(
            dtype=torch.bfloat16,
            shape=(4096, 4096, 4096),
            settings={"group_size": 32, "zero": True},
        ),
        Problem(dtype=torch.float16, shape=(1, 192, 576), settings={"group_size": 0}),
    ),
)
