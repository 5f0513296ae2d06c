"""What a DeepMAD structure costs, in closed form: parameters, multiply-adds, the toolbox's FLOPs.

One set of formulas serves one design in plain integers and many designs in arrays: every quantity
of a part is a number, or an array with one entry a design.

The toolbox is alibaba/lightweight-neural-architecture-search. Its FLOPs are multiply-adds of the
convolutions, 2 for every output of a batch norm, 1 for every output of an activation, of a mean
pool's input, and of the sum behind a projected shortcut; squeeze-excite, the head, and sums behind
other shortcuts are not counted. Where bits are given it scales multiply-adds by bA bW / 64 and
weights by bW / 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from predictors.structure import CONVOLUTIONS, DENSE, GATED, Bits, Structure

Number = Any
"""An integer or float, or an array of them, one a design."""
_FLOAT: Bits = (8, 8)
"""The scales of 8 bits are 1: what counts in float."""


class PartLike(Protocol):
    """A part of one design, or that part of many designs of the same classes and strides."""

    @property
    def kind(self) -> str:
        """As `Part.kind`."""

    @property
    def s(self) -> int:
        """Stride."""

    @property
    def ins(self) -> Number:
        """Channels that come in."""

    @property
    def out(self) -> Number:
        """Channels that go out."""

    @property
    def k(self) -> Number:
        """Kernel size."""

    @property
    def btn(self) -> Number:
        """Channels within blocks."""

    @property
    def depth(self) -> Number:
        """Blocks."""

    @property
    def bits(self) -> tuple[Bits, ...] | None:
        """Bits of each convolution, the same in all designs."""

    @property
    def is_super(self) -> bool:
        """Whether it is a super-block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Costs of one image; head and classifier are no part of a structure."""

    params: Number
    """Trainable parameters."""
    macs: Number
    """Multiply-adds of all convolutions, those of squeeze-excite included."""
    size: Number
    """Toolbox's model size: weights by bits / 8, batch norm's and squeeze-excite's as 1 each."""
    flops: Number
    """Toolbox's FLOPs."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            params=self.params + other.params,
            macs=self.macs + other.macs,
            size=self.size + other.size,
            flops=self.flops + other.flops,
        )

    def times(self, n: Number) -> Counts:
        """The same n times."""
        return Counts(
            params=self.params * n, macs=self.macs * n, size=self.size * n, flops=self.flops * n
        )


_NOTHING = Counts(params=0, macs=0, size=0, flops=0)


def counts(structure: Structure, resolution: int = 224) -> Counts:
    """Costs of a structure for square images.

    Raises:
        StructureError: the resolution does not suit the structure's stride.
    """
    return parts_counts(structure.parts, structure.sizes(resolution))


def parts_counts(parts: Iterable[PartLike], sizes: Sequence[int]) -> Counts:
    """Costs of parts in a row, of which `sizes` are the heights of input and outputs."""
    total = _NOTHING
    for part, height in zip(parts, sizes, strict=False):
        total += part_counts(part, height)
    return total


def part_counts(part: PartLike, height: int) -> Counts:
    """Costs of one part whose input has that height."""
    if not part.is_super:
        bits = part.bits[0] if part.bits else _FLOAT
        left = height // part.s
        found = _convolution(part.ins, part.out, part.k, left, bits)
        return found + _elements(part.out, left)  # ReLU
    left = height // part.s
    if part.bits is None:
        return _first(part, height, None) + _block(part, part.out, 1, left, None).times(
            part.depth - 1
        )
    total = _first(part, height, part.bits[:CONVOLUTIONS])
    for start in range(CONVOLUTIONS, len(part.bits), CONVOLUTIONS):
        total += _block(part, part.out, 1, left, part.bits[start : start + CONVOLUTIONS])
    return total


def _first(part: PartLike, height: int, bits: Sequence[Bits] | None) -> Counts:
    """A super-block's first block: it has the stride, and may change the width."""
    total = _block(part, part.ins, part.s, height, bits)
    left = height // part.s
    if part.kind == DENSE:
        total += _convolution(part.ins, part.out, 1, left, bits[0] if bits else _FLOAT)
        total += _elements(part.out, left)  # the sum
    if part.s > 1:
        linked = 1 if part.kind == DENSE else part.ins == part.out
        total += _elements(part.ins * linked, height)  # the mean pool
    return total


def _block(
    part: PartLike, ins: Number, stride: int, height: int, bits: Sequence[Bits] | None
) -> Counts:
    """1 x 1, k x k and 1 x 1, each with an activation; the shortcut is not counted."""
    one, two, three = bits or (_FLOAT,) * CONVOLUTIONS
    inner, out, left = part.btn, part.out, height // stride
    fan_in = inner if part.kind == DENSE else 1
    total = _convolution(ins, inner, 1, height, one) + _elements(inner, height)
    total += _convolution(fan_in, inner, part.k, left, two) + _elements(inner, left)
    total += _convolution(inner, out, 1, left, three) + _elements(out, left)
    return total + _squeeze_excite(inner) if part.kind == GATED else total


def _convolution(fan_in: Number, out: Number, k: Number, left: int, bits: Bits) -> Counts:
    """A convolution that sums `fan_in` channels and leaves `left` x `left`, and batch norm."""
    weights = fan_in * out * k * k
    macs, norm = weights * left**2, 2 * out
    activation, weight = bits
    if bits == _FLOAT:  # keeps integers
        size, flops = weights, macs
    else:
        size, flops = weights * weight / 8, macs * activation * weight / 64
    return Counts(params=weights + norm, macs=macs, size=size + norm, flops=flops + norm * left**2)


def _elements(channels: Number, height: int) -> Counts:
    return Counts(params=0, macs=0, size=0, flops=channels * height**2)


def _squeeze_excite(channels: Number) -> Counts:
    """Two 1 x 1 convolutions with batch norm by way of a quarter, rounded down to eights."""
    eighths = (channels + 2) // 32
    hidden = (eighths + (eighths == 0)) * 8
    weights = 2 * channels * hidden
    params = weights + 2 * (hidden + channels)
    return Counts(params=params, macs=weights, size=params, flops=0)
