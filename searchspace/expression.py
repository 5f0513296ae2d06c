"""Terms that say what an architecture computes, equal where their text is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from searchspace.shapes import TensorSpec
from searchspace.tree import Value

SEQUENCE = "sequence"
"""Operator of parts in a row, each on what the one before makes."""
REFERENCE = "value"
"""Operator of a value that a `SHARED` term computed before; its number is in `values`."""
SHARED = "shared"
"""Operator of values that several readers have, then of what is made of them."""
ZERO = "zero"
"""Operator of zeros of the shape in `spec`, whatever comes in."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A function of one tensor. Equal terms are equal functions, up to the names of weights.

    Every occurrence of a term has weights of its own.
    """

    operator: str
    """A primitive's name, or how the parts are joined."""
    values: tuple[Value, ...]
    """Scalar arguments."""
    parts: tuple[Expression, ...]
    """Inner terms: in order, or ordered by digest where their order does not matter."""
    free: bool
    """Whether it has no weights and leaves nothing to chance."""
    open: bool
    """Whether it reads a value of a `SHARED` term around it."""
    constant: bool
    """Whether zeros stand in it, so that parts of it may not depend on what comes in."""
    spec: TensorSpec | None
    """What enters, for a primitive; None for all else."""
    digest: bytes
    """16 bytes, the same for equal terms in every process."""

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Expression) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __str__(self) -> str:
        values = ", ".join(map(str, self.values))
        parts = ", ".join(map(str, self.parts))
        inner = "; ".join(text for text in (values, parts) if text)
        return f"{self.operator}({inner})" if inner else self.operator

    @property
    def row(self) -> Row:
        """The parts in a row; none for the identity."""
        return self.parts if self.operator == SEQUENCE else (self,)


@lru_cache(maxsize=1 << 15)
def term(
    operator: str,
    values: tuple[Value, ...] = (),
    parts: tuple[Expression, ...] = (),
    free: bool = False,
    spec: TensorSpec | None = None,
) -> Expression:
    """A term; the same object for the same arguments, as long as it is remembered.

    Args:
        operator: a primitive's name, or how the parts are joined.
        values: scalar arguments.
        parts: inner terms.
        free: whether it has no weights of its own and leaves nothing to chance.
        spec: what enters a primitive.
    """
    head = f"{operator}|{values!r}|{spec}|".encode()
    inner = b"".join([part.digest for part in parts])
    digest = hashlib.blake2b(head + inner, digest_size=16).digest()
    reads = operator == REFERENCE or any(part.open for part in parts)
    # Sharing closes what it names: nothing inside refers to names further out.
    opened = reads and operator != SHARED
    frees = free and all(part.free for part in parts)
    constant = operator == ZERO or any(part.constant for part in parts)
    return Expression(operator, values, parts, frees, opened, constant, spec, digest)


def sequence(row: Row) -> Expression:
    """Parts in a row as one term."""
    return row[0] if len(row) == 1 else term(SEQUENCE, (), row, free=True)


Row = tuple[Expression, ...]
"""Terms in a row."""
