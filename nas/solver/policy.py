"""Policies: what is answered to the questions of a derivation, alike wherever they are asked.

A policy makes alike trees in unlike places: in every stage the same kind of block, with the same
kernel and the same share of the width. It is one mode of a programme's layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from searchspace.choose import Question
from searchspace.tree import Value

_V = TypeVar("_V")

Label = tuple[object, ...]
"""What is asked: the kind, and the rule, variable or argument that it is about."""
Answer = float | Value
"""A share of the integers offered, from the first (0.0) to the last (1.0), or a value."""
Policy = Mapping[Label, Answer]
"""Answers to some questions; to all others, the first option."""

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The shares that are tried for integers."""


@dataclass(slots=True)
class Answering:
    """Offers options as a policy says, and notes what was asked."""

    policy: Policy
    copies: int | None = None
    """The answer to the first question for a count; None: as the policy says."""
    asked: dict[Label, tuple[object, ...]] = field(default_factory=dict)
    """Options by label."""
    counts: tuple[int, ...] = ()
    """What the first count could be."""

    def order(
        self,
        question: Question,
        options: Sequence[_V],
        weights: Sequence[float] | None,
        current: _V | None,
    ) -> Iterator[_V]:
        """See `searchspace.choose.Chooser`."""
        if question.kind == "count" and not self.counts:
            self.counts = tuple(int(str(option)) for option in options)
            wanted = self.copies if self.copies is not None else self.counts[0]
            return iter(sorted(options, key=lambda option: abs(int(str(option)) - wanted)))
        label = _label(question)
        self.asked.setdefault(label, tuple(options))
        return iter(_sorted(options, self.policy.get(label)))


def _label(question: Question) -> Label:
    place = question.place
    if question.kind == "variable":
        rule, name = place
        assert isinstance(rule, tuple)
        return (question.kind, *rule[-2:], name)
    if question.kind == "argument":
        item, index = place
        assert isinstance(item, tuple)
        return (question.kind, item[-1], index)
    return (question.kind, place[-2] if question.kind == "scheme" else place[-1])


def _sorted(options: Sequence[_V], answer: Answer | None) -> list[_V]:
    if answer is None:
        return list(options)
    if isinstance(answer, float):
        wanted = answer * (len(options) - 1)
        order = sorted(range(len(options)), key=lambda index: abs(index - wanted))
        return [options[index] for index in order]
    return sorted(options, key=lambda option: option != answer)


def answers(label: Label, options: Sequence[object]) -> list[Answer]:
    """The answers that are worth trying."""
    numbers = all(isinstance(option, int) for option in options)
    if label[0] == "alternative" or not numbers:
        return [option for option in options if isinstance(option, (int, str))]
    if len(options) < len(SHARES):
        return [index / max(1, len(options) - 1) for index in range(len(options))]
    return list(SHARES)


def worthwhile(
    judge: Callable[[Policy], tuple[Sequence[float], dict[Label, tuple[object, ...]]] | None],
    *,
    directions: int = 10,
    seed: int = 0,
) -> list[Policy]:
    """Policies that are best for some prices, found by ascent from answer to answer.

    Args:
        judge: the entropy of what a policy makes, then its costs, all to be small; and what was
            asked. None if it makes nothing.
        directions: how many ratios of prices are tried.
        seed: decides the ratios.
    """
    known: dict[frozenset[tuple[Label, Answer]], _Judged | None] = {}

    def look(policy: Policy) -> _Judged | None:
        key = frozenset(policy.items())
        if key not in known:
            found = judge(policy)
            known[key] = None if found is None else _Judged(np.array(found[0]), found[1])
        return known[key]

    start = look({})
    if start is None:
        return []
    scale = np.maximum(np.abs(start.figures), 1e-9)
    random = np.random.default_rng(seed)
    kept: dict[tuple[float, ...], Policy] = {}
    best: Policy = {}
    for _ in range(directions):
        weights = 10.0 ** random.uniform(-2.0, 1.0, len(scale)) / scale
        weights[0] = -1.0 / scale[0]
        best, judged = _ascend(best, weights, look)
        kept.setdefault(tuple(judged.figures), best)
    return list(kept.values())


@dataclass(frozen=True, slots=True)
class _Judged:
    figures: np.ndarray[tuple[int], np.dtype[np.float64]]
    asked: dict[Label, tuple[object, ...]]


def _ascend(
    policy: Policy,
    weights: np.ndarray[tuple[int], np.dtype[np.float64]],
    look: Callable[[Policy], _Judged | None],
) -> tuple[Policy, _Judged]:
    """The best policy that single answers lead to, for a weight of each figure."""
    judged = look(policy)
    assert judged is not None
    value = float(weights @ judged.figures)
    moved = True
    while moved:
        moved = False
        for label, options in list(judged.asked.items()):
            for answer in answers(label, options):
                if policy.get(label) == answer:
                    continue
                other = {**policy, label: answer}
                found = look(other)
                if found is not None and float(weights @ found.figures) < value - 1e-12:
                    policy, judged, value = other, found, float(weights @ found.figures)
                    moved = True
    # Answers to what is no longer asked say nothing.
    return {label: a for label, a in policy.items() if label in judged.asked}, judged
