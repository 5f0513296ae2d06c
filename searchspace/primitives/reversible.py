"""Columns of levels from whose output their input can be reconstructed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from searchspace.primitives.base import SEVERAL, Parameter, Primitive, Values
from searchspace.shapes import ShapeError, TensorSpec

_LEAST_SCALE = 1e-3


class ReversibleColumns(nn.Module):
    """Columns of levels between which no information is lost.

    Cai et al., RevCol (arXiv 2212.11696), multi-level reversible unit: level t is
    x_t = F_t(x_{t-1} + x_{t-m+1}) + γ_t x_{t-m} with m levels a column, so that
    x_{t-m} = (x_t - F_t(x_{t-1} + x_{t-m+1})) / γ_t gives a column's input back. As in the
    authors' code, the first level of each column gets the stem's output as x_{t-1}, the last level
    has no x_{t-m+1}, what comes before the first column is 0, and γ, one for each channel, starts
    at 0.5 and is kept from 0 by 1e-3. Departure: all levels have the input's shape; there each has
    half of the former's resolution. Activations are stored in training as usual.

    Args:
        bodies: the levels' F, column after column.
        columns: how many columns they make, at least 2.
        channels: of the input.
    """

    def __init__(self, *bodies: nn.Module, columns: int, channels: int) -> None:
        super().__init__()
        self.levels = len(bodies) // columns
        self.bodies = nn.ModuleList(bodies)
        self.scales = nn.Parameter(torch.full((len(bodies) - self.levels, channels), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that the bodies keep: the last level of the last column."""
        column: list[Tensor] | None = None
        for number in range(len(self.bodies) // self.levels):
            column = self.column(number, x, column)
        assert column is not None
        return column[-1]

    def column(self, number: int, x: Tensor, before: list[Tensor] | None) -> list[Tensor]:
        """The levels of a column.

        Args:
            number: which column, from 0.
            x: the input of the whole.
            before: levels of the column before; None for the first.
        """
        levels: list[Tensor] = []
        for level in range(self.levels):
            entering = levels[-1] if levels else x
            if before is None:
                levels.append(self.bodies[level](entering))
                continue
            if level + 1 < self.levels:
                entering = entering + before[level + 1]
            made = self.bodies[number * self.levels + level](entering)
            levels.append(made + self._scale(number, level, x) * before[level])
        return levels

    def reverse(self, number: int, x: Tensor, after: list[Tensor]) -> list[Tensor]:
        """The levels of the column before, from those of column `number`, which is 1 or more."""
        before: list[Tensor] = []
        for level in reversed(range(self.levels)):
            entering = after[level - 1] if level else x
            if before:
                entering = entering + before[0]
            made = self.bodies[number * self.levels + level](entering)
            before.insert(0, (after[level] - made) / self._scale(number, level, x))
        return before

    def _scale(self, number: int, level: int, x: Tensor) -> Tensor:
        """γ of a level, shaped to multiply what has the dimensions of x."""
        scale = self.scales[(number - 1) * self.levels + level]
        away = scale.abs().clamp(min=_LEAST_SCALE)
        scale = torch.where(scale < 0, -away, away)
        return scale[:, None, None] if x.dim() == 4 else scale


def _kept(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    for out in inner:
        if out != spec:
            raise ShapeError(
                f"the bodies of reversible_columns must keep their shape {spec}; one gives {out}"
            )
    return spec


PRIMITIVES = (
    Primitive(
        name="reversible_columns",
        summary="columns of levels that lose no information (RevCol, arXiv 2212.11696)",
        module=ReversibleColumns,
        parameters=(Parameter(name="columns", least=2),),
        arguments=lambda spec, v: {"columns": v["columns"], "channels": spec.channels},
        groups=SEVERAL,
        result=_kept,
        copies=lambda v: int(v["columns"]),
    ),
)
