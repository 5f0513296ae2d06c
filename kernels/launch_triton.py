"""Start a Triton kernel with the settings that every launch of this package shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def launch(
    kernel: Any,
    programs: int,
    arguments: tuple[Tensor | int | float | None, ...],
    constants: Mapping[str, int | bool | str | None],
    *,
    warps: int,
    stages: int = 3,
) -> None:
    """Run `programs` programs of a kernel on the device of its first argument.

    Args:
        kernel: The `@triton.jit` function.
        programs: Size of the grid, which has one dimension.
        arguments: The run-time arguments in their order, a tensor first; a None is compiled in.
        constants: Value of every `tl.constexpr` argument by its name.
        warps: Warps of 32 threads in a program.
        stages: Stages that a loop with `tl.dot` is pipelined in.
    """
    first = arguments[0]
    assert isinstance(first, Tensor)
    # Fused multiply-add is asked for by name because its default changes between versions.
    with torch.cuda.device(first.get_device()):
        kernel[(programs,)](
            *arguments, **constants, num_warps=warps, num_stages=stages, enable_fp_fusion=True
        )
