"""DeepMAD structures to trees of the space `conv_resnet`, and back.

A structure knows neither activations nor the head: trees made of one have ReLU, SiLU in gated
super-blocks as in the authors' code, a pool and a classifier; on the way back these are dropped.
Squeeze-excite differs in detail: `conv_resnet` has max(8, m // 4) hidden units with biases for m
channels, the authors a multiple of 8 with batch norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from predictors.structure import DENSE, DEPTHWISE, GATED, PLAIN, Part, Structure, StructureError
from searchspace.architecture import Architecture
from searchspace.build import leaves
from searchspace.check import TreeError
from searchspace.grammar import Grammar
from searchspace.picks import Pick, derive, pick
from searchspace.text import to_text
from searchspace.tree import Node, Value, units

SPACE = "conv_resnet"
_ALTERNATIVE, _SUPER_BLOCKS = 2, 5
"""The space's alternative of super-blocks by themselves, and how many it has."""
_NARROW, _SEPARABLE = 0, 1
_POOL, _POOL_AND_PROJECT = 3, 4
_REDUCTION = 4


def architecture_of(structure: Structure, grammar: Grammar) -> Architecture:
    """The tree of a structure: a stem, five super-blocks, perhaps a 1 x 1 convolution.

    Args:
        structure: in float.
        grammar: `conv_resnet`, for any image and number of classes.

    Raises:
        StructureError: the space does not hold the structure; says what is in the way.
    """
    if grammar.name != SPACE:
        raise StructureError(f"structures are trees of the space '{SPACE}'; got '{grammar.name}'")
    if structure.quantized:
        raise StructureError("bits have no place in a tree: drop them, and use schemes for blocks")
    stem, *rest = structure.parts
    middle, last = rest[:_SUPER_BLOCKS], rest[_SUPER_BLOCKS:]
    if stem.is_super or [p.is_super for p in middle] != [True] * _SUPER_BLOCKS or len(last) > 1:
        raise StructureError(
            f"the space '{SPACE}' holds a convolution, {_SUPER_BLOCKS} super-blocks and perhaps a "
            f"convolution; got {', '.join(part.kind for part in structure.parts)}"
        )
    if stem.ins != grammar.input.channels:
        raise StructureError(
            f"the first part must take the image's {grammar.input.channels} channels; "
            f"got {stem.ins}"
        )
    if stem.k != 3 or any(p.is_super or (p.k, p.s) != (1, 1) for p in last):
        raise StructureError(
            "the first convolution must have the kernel 3, the last the kernel and the stride 1; "
            f"got {stem.k}, {', '.join(f'{p.k} and {p.s}' for p in last) or 'none'}"
        )
    halvings = sum(part.s == 2 for part in middle)
    if halvings != _SUPER_BLOCKS - 1:
        raise StructureError(
            f"four of the five super-blocks must have the stride 2; got {halvings} with it"
        )
    strides = dict(zip("pqtuv", [part.s for part in middle], strict=True))
    choices = pick(
        _ALTERNATIVE,
        "relu",
        *[_super_block(part) for part in middle],
        [pick(0, part.out, "relu") for part in last],
        m=stem.out,
        r=stem.s,
        **strides,
    )
    try:
        return derive(grammar, choices)
    except TreeError as fault:
        raise StructureError(f"the space '{SPACE}' does not hold this: {fault}") from None


def _super_block(part: Part) -> Pick:
    more = part.depth - 1
    draws = {"b": part.out, "m": part.btn, "k": part.k}
    if part.kind == DENSE:
        link = [pick(_POOL_AND_PROJECT)] if part.s == 2 else []
        return pick(_NARROW, *link, [pick(0)] * more, **draws, f="relu")
    gated = part.kind == GATED
    gate = pick(int(gated))
    entrance, other = pick(0, gate), pick(0, gate)
    if part.ins == part.out:
        entrance = pick(1, gate, *[pick(_POOL)] * (part.s - 1))
    return pick(_SEPARABLE, entrance, [other] * more, **draws, f="silu" if gated else "relu")


def structure_of(
    architecture: Architecture, *, channels: int = 3, any_shortcut: bool = False
) -> Structure:
    """The structure of a tree of `conv_resnet` whose stages are DeepMAD's super-blocks.

    Args:
        architecture: any tree made of plain convolutions and bottlenecks; stages are read off it,
            so it need not come from `architecture_of`.
        channels: of the image.
        any_shortcut: whether blocks may have other shortcuts than DeepMAD's, or none. The score of
            the structure looks past them, but its costs are not the tree's.

    Raises:
        StructureError: a block is none of DeepMAD's; names it.
    """
    parts: list[Part] = []
    width = channels
    for child in architecture.root.flat():
        for part in _parts(child, width, any_shortcut):
            parts.append(part)
            width = part.out
    return Structure(tuple(parts))


Step = tuple[str, tuple[Value, ...]]
"""A primitive by name and values."""
_NORMAL = ("batch_norm", "activation")
_HEAD = ("global_pool", "classifier")


@dataclass(frozen=True, slots=True)
class _Block:
    """One bottleneck, as a super-block of its own, and the shortcut that it has."""

    part: Part
    link: tuple[Step, ...] | None
    """Empty if the shortcut is the input itself; None if there is none."""


def _parts(stage: Node, width: int, any_shortcut: bool) -> Iterator[Part]:
    """What one stage adds: convolutions in a row, or a super-block."""
    blocks: list[_Block] = []
    for _, unit in units(stage):
        row = _row((unit,))
        plain, block = _plain(row, width), _bottleneck(unit, width)
        if plain is not None and not blocks:
            yield plain
            width = plain.out
        elif block is not None:
            blocks.append(block)
            width = block.part.out
        elif _symbols(row) != _HEAD:
            raise _fault(unit)
    if not blocks:
        return
    first, *others = blocks
    if not any_shortcut and first.link not in _wanted(first.part):
        raise _fault(next(units(stage))[1])
    again = replace(first.part, ins=first.part.out, s=1)
    for (_, unit), block in zip(list(units(stage))[1:], others, strict=True):
        if block.part != again or not (any_shortcut or block.link == ()):
            raise _fault(unit)
    yield replace(first.part, depth=len(blocks))


def _wanted(first: Part) -> tuple[tuple[Step, ...] | None, ...]:
    """The shortcuts that a super-block's first block may have: they cost the same."""
    pool: tuple[Step, ...] = (("strided_average_pool", (2, 2)),) if first.s == 2 else ()
    if first.kind == DENSE:
        norm: Step = ("batch_norm", ())
        pooled = (*pool, ("conv", (first.out, 1, 1)), norm)
        return (pooled, (("conv", (first.out, 1, first.s)), norm))
    return (pool if first.ins == first.out else None,)


def _plain(row: Sequence[Step], width: int) -> Part | None:
    """A convolution, batch norm and activation, as they stand alone or before the classifier."""
    if _symbols(row) not in (("conv", *_NORMAL), ("conv", *_NORMAL, *_HEAD)):
        return None
    out, k, s = _integers(row[0])
    return Part(kind=PLAIN, ins=width, out=out, k=k, s=s)


def _bottleneck(unit: Node, width: int) -> _Block | None:
    """1 x 1, k x k, 1 x 1, perhaps with a shortcut, and an activation."""
    nodes = [leaf for leaf in leaves(unit) if leaf.symbol != "identity"]
    if len(nodes) < 2 or nodes[-1].symbol != "activation":
        return None
    row, link = _row(nodes[:-1]), None
    if nodes[0].symbol == "branch" and len(nodes) == 2:
        if nodes[0].values != ("add",) or len(nodes[0].children) != 2:
            return None
        row, link = [_row(group) for group in nodes[0].children]
    gate = ("squeeze_excite",) * ("squeeze_excite" in _symbols(row))
    middle = row[3][0] if len(row) > 3 else ""
    if _symbols(row) != ("conv", *_NORMAL, middle, *_NORMAL, *gate, "conv", "batch_norm"):
        return None
    (inner, *first), (again, k, s, *groups) = _integers(row[0]), _integers(row[3])
    out, *last = _integers(row[-2])
    kinds = {
        ("conv", False): DENSE,
        ("grouped_conv", False): DEPTHWISE,
        ("grouped_conv", True): GATED,
    }
    kind = kinds.get((middle, bool(gate)))
    fits = first == last == [1, 1] and inner == again and groups == [1] * (kind != DENSE)
    if kind is None or not fits or (gate and row[6][1] != (_REDUCTION,)):
        return None
    return _Block(Part(kind=kind, ins=width, out=out, k=k, s=s, btn=inner), link)


def _row(nodes: Sequence[Node]) -> tuple[Step, ...]:
    """The primitives of nodes in sequence, without those that do nothing."""
    found = [leaf for node in nodes for leaf in leaves(node) if leaf.symbol != "identity"]
    return tuple((leaf.symbol, leaf.values) for leaf in found)


def _symbols(row: Sequence[Step]) -> tuple[str, ...]:
    return tuple(symbol for symbol, _ in row)


def _integers(step: Step) -> tuple[int, ...]:
    return tuple(value for value in step[1] if isinstance(value, int))


def _fault(unit: Node) -> StructureError:
    return StructureError(
        f"'{unit.symbol}' is no convolution and no block of a super-block of DeepMAD: "
        f"{to_text(unit)}"
    )
