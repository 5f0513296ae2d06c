"""Building modules on the meta device, where neither memory nor initial values are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def on_meta() -> Iterator[None]:
    """Has modules that are made within on the meta device, their tensors never filled."""
    with torch.device("meta"), NoInitialValues():
        yield


class NoInitialValues(TorchFunctionMode):
    """Skips filling tensors: on the meta device it is most of a module's construction."""

    _FILLS = frozenset(
        getattr(torch.Tensor, name)
        for name in ("uniform_", "normal_", "erfinv_", "clamp_", "fill_", "zero_", "mul_", "add_")
    )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in self._FILLS:
            return args[0]
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
