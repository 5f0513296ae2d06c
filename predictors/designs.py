"""Many designs of one template at once: DeepMAD's score and costs over arrays.

The template fixes the parts' classes and strides; widths, bottlenecks, kernel sizes and depths
differ from design to design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from predictors.deepmad import Form, Score, score
from predictors.structure import Bits, Structure, StructureError
from predictors.structure_cost import Counts, parts_counts

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One part of all designs: see `Part`. Arrays are `[designs]`."""

    kind: str
    s: int
    is_super: bool
    ins: Integers
    out: Integers
    k: Integers
    btn: Integers
    depth: Integers
    bits: tuple[Bits, ...] | None = None


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Designs:
    """Designs of one template, each array `[designs, parts]` of integers of at least 1.

    Columns of plain convolutions in `btn` and `depth` are not read. Nothing but the arrays' shapes
    is checked: values are used as they are.

    Raises:
        StructureError: an array has another shape, or the template has bits.
    """

    template: Structure
    """Whose classes, strides and channels of the input hold for all."""
    out: Integers
    """Channels that go out."""
    k: Integers
    """Kernel sizes."""
    btn: Integers
    """Channels within blocks."""
    depth: Integers
    """Blocks of super-blocks."""

    def __post_init__(self) -> None:
        if self.template.quantized:
            raise StructureError("a template must not have bits: they depend on the depths")
        wanted = (len(self), len(self.template.parts))
        for name in ("out", "k", "btn", "depth"):
            shape = getattr(self, name).shape
            if shape != wanted:
                raise StructureError(
                    f"'{name}' must have the shape [designs, parts] {wanted}; got {shape}"
                )

    def __len__(self) -> int:
        return int(self.out.shape[0])

    def columns(self) -> list[Column]:
        """The designs by part."""
        parts = self.template.parts
        first = np.full(len(self), parts[0].ins, dtype=np.int64)
        ins = [first, *self.out.T[:-1]]
        return [
            Column(
                kind=part.kind,
                s=part.s,
                is_super=part.is_super,
                ins=ins[index],
                out=self.out[:, index],
                k=self.k[:, index],
                btn=self.btn[:, index],
                depth=self.depth[:, index],
            )
            for index, part in enumerate(parts)
        ]

    def score(self, resolution: int = 224, *, form: Form = "paper") -> Score:
        """`deepmad` of every design, in arrays `[designs]`.

        Raises:
            StructureError: as `deepmad`.
        """
        return score(self.columns(), self.template.sizes(resolution), form)

    def counts(self, resolution: int = 224) -> Counts:
        """`counts` of every design, in arrays `[designs]`.

        Raises:
            StructureError: as `counts`.
        """
        return parts_counts(self.columns(), self.template.sizes(resolution))

    def structure(self, index: int) -> Structure:
        """One of the designs.

        Raises:
            StructureError: its values do not suit its classes.
        """
        found, ins = [], self.template.parts[0].ins
        for column, part in enumerate(self.template.parts):
            out, k = int(self.out[index, column]), int(self.k[index, column])
            part = replace(part, ins=ins, out=out, k=k)
            if part.is_super:
                btn, depth = int(self.btn[index, column]), int(self.depth[index, column])
                part = replace(part, btn=btn, depth=depth)
            found.append(part)
            ins = out
        return Structure(tuple(found))


def designs_of(structures: Sequence[Structure]) -> Designs:
    """Structures of the same classes and strides, as arrays.

    Raises:
        StructureError: there are none, or their classes, strides or inputs differ.
    """
    if not structures:
        raise StructureError("at least one structure is needed; got none")
    kinds = {(s.parts[0].ins, *[(p.kind, p.s) for p in s.parts]) for s in structures}
    if len(kinds) > 1:
        raise StructureError("structures must have the same classes, strides and input channels")

    def array(name: str) -> Integers:
        rows = [[getattr(part, name) for part in s.parts] for s in structures]
        return np.array(rows, dtype=np.int64)

    return Designs(
        template=structures[0],
        out=array("out"),
        k=array("k"),
        btn=array("btn"),
        depth=array("depth"),
    )
