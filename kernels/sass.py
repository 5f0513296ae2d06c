"""Read the machine code (SASS) that `nvdisasm -c` lists: instructions, and the loops they are in.

A loop is a branch backwards and everything between its target and itself. Triton's loops are
compiled so; code that the assembler moved out of a loop's line is not counted in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CLASSES: dict[str, tuple[str, ...]] = {
    "tensor core": (
        *("HMMA", "IMMA", "BMMA", "DMMA", "QMMA", "OMMA"),
        *("HGMMA", "IGMMA", "BGMMA", "QGMMA"),
        *("UTCHMMA", "UTCIMMA", "UTCQMMA", "UTCOMMA"),
    ),
    "multiply-add": ("FFMA", "FFMA2", "HFMA2", "DFMA"),
    "global load": ("LDG", "LDGSTS", "UTMALDG", "LD"),
    "global store": ("STG", "UTMASTG", "RED", "REDG", "ATOM", "ATOMG", "ST"),
    "shared load": ("LDS", "LDSM"),
    "shared store": ("STS", "STSM", "ATOMS"),
    "spill": ("LDL", "STL"),
    "barrier": ("BAR", "SYNCS", "DEPBAR", "LDGDEPBAR", "WARPGROUP"),
    "convert": ("F2F", "F2FP", "I2F", "I2FP", "F2I", "I2I", "I2IP", "FRND", "PRMT", "HADD2"),
    "special function": ("MUFU",),
}
"""Mnemonics, without modifiers, of each class of instruction; all others are `other`: integers,
addresses, moves, predicates, control."""

_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);")
_LABEL = re.compile(r"^(\.L\w+):", re.MULTILINE)
_TARGET = re.compile(r"`\((\.L\w+)\)")


class ListingError(ValueError):
    """The text is not what `nvdisasm -c` lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One line of the listing."""

    address: int
    """Offset from the start of the code, in bytes."""
    opcode: str
    """Mnemonic with modifiers, such as `LDG.E.128`; a move by `HFMA2` is a `MOV`."""
    target: str | None
    """Label that it names, if any: where a branch goes."""

    @property
    def mnemonic(self) -> str:
        """The opcode without its modifiers."""
        return self.opcode.split(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One loop of the code, from the target of a backward branch to the branch."""

    depth: int
    """1 for a loop in no other."""
    innermost: bool
    """Whether no other loop lies in it."""
    instructions: tuple[tuple[str, int], ...]
    """Mnemonic and count in the body, inner loops left out, commonest first."""
    loaded_bytes: int
    """Bytes that its global loads ask for, a thread and iteration, predicates aside."""

    @property
    def size(self) -> int:
        """Instructions an iteration."""
        return sum(number for _, number in self.instructions)

    @property
    def mix(self) -> dict[str, int]:
        """Instructions an iteration by class of `CLASSES`, and `other`."""
        return mix(self.instructions)


def parse(listing: str) -> tuple[list[Instruction], dict[str, int]]:
    """Return the instructions in order, and the address that each label stands for.

    Raises:
        ListingError: If there are no instructions.
    """
    labels: dict[str, int] = {}
    waiting: list[str] = []
    instructions = []
    for line in listing.splitlines():
        if label := _LABEL.match(line):
            waiting.append(label[1])
        elif found := _INSTRUCTION.search(line):
            address = int(found[1], 16)
            labels |= dict.fromkeys(waiting, address)
            waiting.clear()
            target = _TARGET.search(found[3])
            # The assembler also moves constants by adding them to a product of zeros.
            moves = found[2].startswith("HFMA2") and "-RZ, RZ" in found[3]
            instructions.append(
                Instruction(
                    address=address,
                    opcode="MOV" if moves else found[2],
                    target=target[1] if target else None,
                )
            )
    if not instructions:
        raise ListingError(f"the listing must hold instructions; got {listing[:200]!r}")
    return instructions, labels


def count(instructions: Sequence[Instruction]) -> tuple[tuple[str, int], ...]:
    """Count mnemonics, commonest first."""
    counts = Counter(instruction.mnemonic for instruction in instructions)
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def mix(counts: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Add counts of mnemonics up by class; classes that do not occur are left out."""
    classes = {mnemonic: name for name, members in CLASSES.items() for mnemonic in members}
    sums: Counter[str] = Counter()
    for mnemonic, number in counts:
        sums[classes.get(mnemonic, "other")] += number
    return {name: sums[name] for name in (*CLASSES, "other") if sums[name]}


def find_loops(instructions: Sequence[Instruction], labels: Mapping[str, int]) -> tuple[Loop, ...]:
    """Find the loops, in the order of the code; those that nothing comes out of are left out."""
    ends: dict[int, int] = {}
    for instruction in instructions:
        start = labels.get(instruction.target or "")
        # The last instruction of every kernel branches to itself: a trap, not a loop.
        if instruction.mnemonic == "BRA" and start is not None and start < instruction.address:
            ends[start] = max(instruction.address, ends.get(start, 0))
    spans = sorted(ends.items(), key=lambda span: (span[0], -span[1]))
    return tuple(_loop(instructions, spans, span) for span in spans)


def main_loop(loops: Sequence[Loop]) -> Loop | None:
    """Pick the innermost loop that multiplies most, or else the longest; None if there is none."""

    def work(loop: Loop) -> tuple[int, int, int]:
        sums = loop.mix
        return sums.get("tensor core", 0), sums.get("multiply-add", 0), loop.size

    return max((loop for loop in loops if loop.innermost), key=work, default=None)


def _loop(
    instructions: Sequence[Instruction], spans: Sequence[tuple[int, int]], span: tuple[int, int]
) -> Loop:
    inner = [other for other in spans if other != span and _within(other, span)]
    body = [
        instruction
        for instruction in instructions
        if span[0] <= instruction.address <= span[1]
        and not any(first <= instruction.address <= last for first, last in inner)
    ]
    return Loop(
        depth=sum(_within(span, other) for other in spans),
        innermost=not inner,
        instructions=count(body),
        loaded_bytes=sum(map(_loaded_bytes, body)),
    )


def _within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _loaded_bytes(instruction: Instruction) -> int:
    """Width of a load from global memory; 4 bytes unless a modifier says otherwise."""
    name, *modifiers = instruction.opcode.split(".")
    if name not in ("LDG", "LDGSTS"):
        return 0
    widths = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}
    return next((widths[modifier] for modifier in modifiers if modifier in widths), 4)
