"""DeepMAD structures: a stem, super-blocks, and how they read and are written as JSON.

The form is that in which the authors publish their networks (Apache-2.0,
alibaba/lightweight-neural-architecture-search): a list of parts, each an object with `class`, `in`,
`out`, `k`, `s`, super-blocks with `btn` and `L` too, and `nbitsA`, `nbitsW` where the network is
quantized. What a structure costs is in `structure_cost`, what it scores in `deepmad`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PLAIN = "ConvKXBNRELU"
"""A convolution, batch norm, ReLU."""
DENSE = "SuperResK1KXK1"
"""Bottlenecks 1 x 1, k x k, 1 x 1 round which a shortcut leads; the first one projects it."""
DEPTHWISE = "SuperResK1DWK1"
"""The same with a depthwise k x k; a shortcut only where the width stays, never projected."""
QUANTIZED = "SuperQuantResK1DWK1"
"""Another name of `DEPTHWISE`, used where bits are searched."""
GATED = "SuperResK1DWSEK1"
"""`DEPTHWISE` with squeeze-excite after the k x k."""
SUPER_BLOCKS = (DENSE, DEPTHWISE, QUANTIZED, GATED)
"""Classes of super-blocks."""
CONVOLUTIONS = 3
"""Convolutions of each block of a super-block, the shortcut's not counted."""

Bits = tuple[int, int]
"""Bits of a convolution's input and of its weights."""


class StructureError(ValueError):
    """A structure, or a question about one, that has no meaning; says what must hold and came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A convolution, or a super-block of `depth` bottlenecks.

    Raises:
        StructureError: a value does not fit the class.
    """

    kind: str
    """`PLAIN`, or one of `SUPER_BLOCKS`."""
    ins: int
    """Channels that come in."""
    out: int
    """Channels that go out."""
    k: int
    """Kernel size, odd."""
    s: int
    """Stride, 1 or 2: of the convolution, or of the first block's k x k."""
    btn: int = 0
    """Channels within a super-block's blocks; 0 for a plain convolution."""
    depth: int = 1
    """Blocks of a super-block (`L` in JSON); 1 for a plain convolution."""
    bits: tuple[Bits, ...] | None = None
    """Bits of each convolution in order, shortcuts left out; None in float."""

    def __post_init__(self) -> None:
        known = (PLAIN, *SUPER_BLOCKS)
        if self.kind not in known:
            raise StructureError(f"a part's class must be one of {', '.join(known)}: {self.kind!r}")
        least = {"in": self.ins, "out": self.out, "k": self.k}
        if self.is_super:
            least |= {"btn": self.btn, "L": self.depth}
        for name, value in least.items():
            if not _is_integer(value) or value < 1:
                raise StructureError(f"'{name}' must be an integer of at least 1; got {value!r}")
        if self.k % 2 == 0:
            raise StructureError(f"'k' must be odd, so that padding keeps the size; got {self.k}")
        if self.s not in (1, 2):
            raise StructureError(f"'s' must be 1 or 2; got {self.s!r}: split a longer step up")
        if not self.is_super and (self.btn, self.depth) != (0, 1):
            raise StructureError(
                f"'{PLAIN}' has neither 'btn' nor 'L'; drop them or change 'class'"
            )
        if self.bits is not None:
            self._check_bits(self.bits)

    def _check_bits(self, bits: tuple[Bits, ...]) -> None:
        if len(bits) != self.convolutions:
            raise StructureError(
                f"bits are given for each of a part's {self.convolutions} convolutions, shortcuts "
                f"left out; got {len(bits)}"
            )
        for pair in bits:
            if not all(_is_integer(b) and 1 <= b <= 32 for b in pair):
                raise StructureError(f"bits must be integers from 1 to 32; got {pair}")

    @property
    def is_super(self) -> bool:
        """Whether this is a super-block."""
        return self.kind in SUPER_BLOCKS

    @property
    def convolutions(self) -> int:
        """Convolutions along the main path."""
        return CONVOLUTIONS * self.depth if self.is_super else 1


@dataclass(frozen=True, slots=True)
class Structure:
    """A network up to its pooling and classifier, which structures leave out.

    Raises:
        StructureError: there are no parts, widths do not meet, or only some parts have bits.
    """

    parts: tuple[Part, ...]
    """First to last."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise StructureError("a structure needs at least one part; got none")
        for index, (before, after) in enumerate(zip(self.parts, self.parts[1:], strict=False)):
            if before.out != after.ins:
                raise StructureError(
                    f"'in' of part {index + 1} must be 'out' of part {index}, {before.out}; "
                    f"got {after.ins}"
                )
        if len({part.bits is None for part in self.parts}) > 1:
            raise StructureError("bits must be given for all parts or for none; some lack them")

    @property
    def quantized(self) -> bool:
        """Whether the parts have bits."""
        return self.parts[0].bits is not None

    @property
    def stride(self) -> int:
        """Input size over output size."""
        return int(2 ** sum(part.s == 2 for part in self.parts))

    def sizes(self, resolution: int) -> tuple[int, ...]:
        """Height of the input and of every part's output.

        Raises:
            StructureError: the resolution is no multiple of the stride, so that shortcuts, which
                round down, would not meet convolutions, which round up.
        """
        if not _is_integer(resolution) or resolution < 1 or resolution % self.stride:
            raise StructureError(
                f"the resolution must be a multiple of the structure's stride, {self.stride}; "
                f"got {resolution}"
            )
        sizes = [resolution]
        for part in self.parts:
            sizes.append(sizes[-1] // part.s)
        return tuple(sizes)


def read_structure(parts: object) -> Structure:
    """A structure from its JSON form.

    Args:
        parts: what `json.loads` made of it: a list of objects. `s` may be left out for 1, and
            `inner_class`, which the authors' files have and which says nothing new, is ignored.

    Raises:
        StructureError: it is none; names the part.
    """
    if isinstance(parts, str) or not isinstance(parts, Sequence):
        raise StructureError(f"a structure must be a list of parts; got {type(parts).__name__}")
    found = []
    for index, part in enumerate(parts):
        try:
            found.append(_read_part(part))
        except StructureError as fault:
            raise StructureError(f"part {index} of the structure: {fault}") from None
    return Structure(tuple(found))


def write_structure(structure: Structure) -> list[dict[str, Any]]:
    """The JSON form of a structure: what `read_structure` reads back, keys in alphabetic order."""
    return [_write_part(part) for part in structure.parts]


_PLAIN_KEYS = {"class", "in", "out", "k", "s"}
_SUPER_KEYS = _PLAIN_KEYS | {"btn", "L"}
_BIT_KEYS = {"nbitsA", "nbitsW"}


def _read_part(part: object) -> Part:
    if not isinstance(part, Mapping):
        raise StructureError(f"must be an object; got {type(part).__name__}")
    kind = part.get("class")
    needed = _SUPER_KEYS if kind in SUPER_BLOCKS else _PLAIN_KEYS
    missing = needed - {"s"} - part.keys()
    unknown = part.keys() - needed - _BIT_KEYS - {"inner_class"}
    if missing:
        raise StructureError(f"needs {_listed(needed)}; lacks {_listed(missing)}")
    if unknown:
        raise StructureError(f"may have {_listed(needed | _BIT_KEYS)}; got {_listed(unknown)}")
    return Part(
        kind=kind if isinstance(kind, str) else repr(kind),
        ins=part["in"],
        out=part["out"],
        k=part["k"],
        s=part.get("s", 1),
        btn=part.get("btn", 0),
        depth=part.get("L", 1),
        bits=_read_bits(part),
    )


def _read_bits(part: Mapping[str, Any]) -> tuple[Bits, ...] | None:
    given = _BIT_KEYS & part.keys()
    if not given:
        return None
    if given != _BIT_KEYS:
        raise StructureError(f"bits need both of {_listed(_BIT_KEYS)}; got {_listed(given)}")
    rows = []
    for name in sorted(_BIT_KEYS):
        row = part[name]
        rows.append([row] if _is_integer(row) else row)
        if not isinstance(rows[-1], list):
            raise StructureError(f"'{name}' must be an integer or a list of them; got {row!r}")
    if len(rows[0]) != len(rows[1]):
        raise StructureError(
            f"'nbitsA' and 'nbitsW' must be equally long; got {len(rows[0])} and {len(rows[1])}"
        )
    return tuple(zip(*rows, strict=True))


def _write_part(part: Part) -> dict[str, Any]:
    row: dict[str, Any] = {
        "class": part.kind,
        "in": part.ins,
        "out": part.out,
        "k": part.k,
        "s": part.s,
    }
    if part.is_super:
        row |= {"btn": part.btn, "L": part.depth}
    if part.bits is not None:
        for index, name in enumerate(sorted(_BIT_KEYS)):
            bits = [pair[index] for pair in part.bits]
            row[name] = bits if part.is_super else bits[0]
    return dict(sorted(row.items()))


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(names: set[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))
