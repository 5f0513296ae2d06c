"""A module that runs layers as a function says."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Does(nn.Module):
    """Runs layers as a function says."""

    def __init__(self, forward: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.does, self.layers = forward, nn.ModuleList(layers)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.does(*inputs, *self.layers)
