"""What an operation is to those that check, inspect and time it, and what one of its cases is.

Each operation describes itself once, in its `*_cases.py`; `kernels.check` runs the cases, the tests
and `nas kernels check` with it, and `nas kernels inspect` compiles its sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kernels.aot import KernelSource

Arguments = dict[str, Any]
"""Keyword arguments of an operation's public function, but for `backend`."""

Make = Callable[[torch.Generator, torch.dtype, torch.device], Arguments]
"""Makes a case's arguments: drawn from a CPU generator, in the dtype, on the device."""

Settings = Mapping[str, int | bool | str]
"""Of an operation's sources, what is no shape and no dtype, such as `kernel` or `activation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One input on which the Triton version must agree with the plain one."""

    name: str
    """Unique in its operation."""
    why: str
    """What it is awkward for."""
    make: Make
    """Makes the arguments; tensors may have any strides."""
    dtypes: tuple[torch.dtype, ...] | None = None
    """Dtypes that it makes sense in; None: all of the operation. A GPU runs every one."""
    interpreted: tuple[torch.dtype, ...] | None = None
    """Dtypes that the interpreter runs, as it is slow; None: the first of `dtypes`. An empty tuple
    leaves the case to GPUs."""
    gradients: bool = True
    """Whether gradients are checked too."""
    scale: float = 0.0
    """Errors are measured against the largest value of a result, or this if it is larger: for
    results that cancel to nearly nothing, such as the gradient of a norm over one value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A shape that an operation's kernels are compiled for, without any GPU, and reported on."""

    dtype: torch.dtype
    """Dtype of the operation's input."""
    shape: tuple[int, ...]
    """Shape of the operation's input, in the order of `Operation.letters`."""
    settings: Settings = field(default_factory=dict)
    """Settings that differ from `Operation.settings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation with all that is needed to check it and to compile it for any GPU."""

    name: str
    """The name in `kernels.catalogue`."""
    run: Callable[..., Tensor | tuple[Tensor, ...]]
    """The public function; it takes `backend`."""
    plain: Callable[..., Tensor | tuple[Tensor, ...]]
    """The meaning. Called with every float32, float16 and bfloat16 tensor of a case in float64;
    narrower ones and integers stay as they are."""
    cases: tuple[Case, ...]
    """Awkward sizes, layouts and values, small enough for the interpreter."""
    dtypes: tuple[torch.dtype, ...]
    """Dtypes that cases are made in; the first is the one the interpreter runs by default."""
    gradients: tuple[str, ...] = ()
    """Arguments whose gradients are checked, where a case gives them."""
    sources: Callable[..., dict[str, KernelSource]]
    """Called with `capability`, `dtype`, `shape` and every setting by name: what would be compiled,
    by the role of the kernel, such as `forward`. Imports Triton; raises ValueError for a shape or a
    setting that does not fit."""
    letters: str
    """What `shape` means, such as `BxCxHxW`."""
    settings: Settings = field(default_factory=dict)
    """Settings of `sources` with their defaults."""
    capability: tuple[int, int] = (8, 0)
    """Lowest compute capability that has its arithmetic."""
    problems: tuple[Problem, ...] = ()
    """What the table of resources lists; every entry of the table of blocks is met by one."""
