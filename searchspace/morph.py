"""Changes that make a network larger and leave what it computes as it is.

Chen et al., Net2Net (arXiv 1511.05641): copies of units, which share their outgoing weights, and
layers that pass on what they get. Wei et al., Network Morphism (arXiv 1603.01670): kernels with
zeros round them. Cai et al., Efficient Architecture Search by Network Transformation (arXiv
1707.04873): such changes as the steps of a search. Wang et al., LEMON (arXiv 2310.07999): unequal
shares, so that copies learn apart without noise. Departure: a new layer is no identity, but stands
beside one, with zeros in its last weights.

The kinds are

- `kernel`: a larger odd kernel;
- `width`: more hidden units, or more channels wherever all that reads them can have copies (a layer
  norm takes only as many copies of each);
- `depth`: one more layer that is added to what passes it by; or a gate, which at first lets half
  of everything through, and the next layer doubles it;
- `branch`: one more branch of a sum, or an operation in the place of `zero`.

The output stays in evaluation and in training, with batch norms and their statistics. What keeps it
in evaluation alone is not offered: a convolution that begins as an identity before a batch norm, or
a gate there. Nor is what changes it: another even kernel, channels of group norm, ECA or a shift,
wider heads of attention.

How weights are mapped is in `searchspace.layouts`; `transfer` makes the larger network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from searchspace.actions import Action
from searchspace.align import align
from searchspace.architecture import Architecture
from searchspace.build import flow, primitive_of
from searchspace.check import TreeError, check
from searchspace.enlarge import changes
from searchspace.flows import MorphError
from searchspace.grammar import Grammar
from searchspace.shapes import ShapeError, TensorSpec
from searchspace.transfer import transfer
from searchspace.tree import Node

__all__ = ["Morph", "MorphError", "morphs", "transfer"]


@dataclass(frozen=True, kw_only=True)
class Morph:
    """A change of one place in a tree."""

    kind: str
    """`kernel`, `width`, `depth` or `branch`."""
    place: str
    """Rules and primitives on the way to what changes, copies numbered from 0."""
    change: str
    """What changes there, such as `kernel 3 -> 5`."""
    architecture: Architecture
    """The larger architecture, a derivation of the same grammar."""


def morphs(
    grammar: Grammar, architecture: Architecture, spec: TensorSpec | None = None
) -> list[Morph]:
    """All changes of one place that `transfer` can make, each architecture once.

    Of integers the next few larger values are tried and twice the value, of words those for larger
    kernels; of what repeats, one copy more of the last; of rules, other alternatives that hold what
    is there.

    Args:
        grammar: the space.
        architecture: one of its architectures.
        spec: input of the networks; that of the space if None.
    """
    spec = grammar.input if spec is None else spec
    found: dict[Node, Morph] = {}
    for place, change, root in changes(grammar, architecture.root):
        if root in found or root == architecture.root:
            continue
        try:
            actions = align(architecture.root, root, spec)
            check(grammar, root)
            flow(root, spec)
        except (MorphError, ShapeError, TreeError):
            continue
        larger = Architecture(space=architecture.space, root=root)
        kind = _kind(actions)
        if kind is None:
            continue
        found[root] = Morph(kind=kind, place=place, change=change, architecture=larger)
    return list(found.values())


def _kind(actions: Sequence[Action]) -> str | None:
    """What becomes larger; None if nothing does."""
    if any(action.branch for action in actions):
        return "branch"
    if any(action.kind in ("zero", "half") for action in actions):
        return "depth"
    grown = [action for action in actions if action.kind == "map" and action.node != action.before]
    if not grown:
        return None
    return "kernel" if any(map(_kernel, grown)) else "width"


def _kernel(action: Action) -> bool:
    """Whether a kernel grows. Words change for nothing else."""
    assert action.before is not None
    names = [parameter.name for parameter in primitive_of(action.node).parameters]
    changes = zip(names, action.before.values, action.node.values, strict=True)
    return any(
        old != new and (name == "kernel" or isinstance(new, str)) for name, old, new in changes
    )
