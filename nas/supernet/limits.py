"""How far a space must be narrowed so that its shared weights can be trained here.

The bank itself takes any grammar. These limits keep the time of a run in bounds on a small machine
and leave out sizes that a small image cannot use.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.supernet.sizes import counting, extreme, feeding
from searchspace.build import build
from searchspace.grammar import Grammar
from searchspace.read import Limits, read_grammar
from searchspace.shapes import TensorSpec
from searchspace.tree import Node

MACS_PER_IMAGE = 8_000_000
"""Default bound on the largest network, in multiply-accumulate operations for one image."""
DEPTH = 2
"""Default bound on repeats: on small images a layer costs its launch, whatever its width."""
DRAWS = 8
"""Largest networks that are looked at: they differ in kinds of layers."""


def default_limits(
    grammar: Grammar,
    spec: TensorSpec,
    *,
    macs: Callable[[Node], int] | None = None,
    macs_per_image: int = MACS_PER_IMAGE,
    depth: int = DEPTH,
) -> dict[str, tuple[int, int]]:
    """Smallest and largest value of every domain that should be narrowed for images of `spec`.

    * Domains that feed a parameter `kernel`: none larger than the image, beyond which a window
      only sees more padding; the smallest value stays.
    * Domains that feed a `stride`: at most an eighth of the image, so that later stages have
      something left to see.
    * Domains that count repeats: at most `depth`.
    * Domains that feed the channels `out`: as wide as the largest network may be under
      `macs_per_image`, and at least the two smallest values.

    Args:
        grammar: the space, as it ships or narrowed already.
        macs: multiply-accumulate operations of a tree's network on one image of `spec`; counted by
            torch on the meta device if None.
    """
    size = max(spec.shape[1:])
    count = macs or macs_counter(spec)
    limits: dict[str, tuple[int, int]] = {}
    for names, most in (
        (feeding(grammar, "kernel"), size),
        (feeding(grammar, "stride"), size // 8),
        (counting(grammar), depth),
    ):
        limits |= {name: _at_most(grammar, name, most) for name in sorted(names)}
    widths = sorted(feeding(grammar, "out"))
    for most in sorted({v for name in widths for v in _integers(grammar, name)[1:]}):
        wider = limits | {name: _at_most(grammar, name, most) for name in widths}
        if wider == limits:
            continue
        narrowed = _narrowed(grammar, wider)
        if set(widths) <= set(limits) and _largest(narrowed, count) > macs_per_image:
            break
        limits = wider
    return limits


def macs_counter(spec: TensorSpec) -> Callable[[Node], int]:
    """Multiply-accumulate operations of a tree's network on one image, by torch's own counter."""

    def count(root: Node) -> int:
        with torch.device("meta"), torch.no_grad():
            network = build(root, spec).eval()
            with FlopCounterMode(display=False) as counter:
                network(torch.empty(1, *spec.shape))
        return int(counter.get_total_flops()) // 2

    return count


def _largest(grammar: Grammar, macs: Callable[[Node], int]) -> int:
    random = Random(0)  # fixed: which limits a space gets must not depend on the run's seed
    return max(macs(extreme(grammar, random, max)) for _ in range(DRAWS))


def _narrowed(grammar: Grammar, limits: Limits) -> Grammar:
    # The text is that of the whole space: what was narrowed before must be narrowed again.
    integers = {name: _integers(grammar, name) for name in grammar.domains}
    before = {name: (values[0], values[-1]) for name, values in integers.items() if values}
    return read_grammar(
        grammar.text,
        spec=grammar.input,
        classes=grammar.classes,
        limits={**before, **limits},
        schemes=grammar.schemes,
    )


def _integers(grammar: Grammar, name: str) -> list[int]:
    return sorted(v for v in grammar.domains[name].values if isinstance(v, int))


def _at_most(grammar: Grammar, name: str, most: int) -> tuple[int, int]:
    values = _integers(grammar, name)
    return values[0], max([v for v in values if v <= most] or values[:1])
