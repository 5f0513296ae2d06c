"""Local search: a design is made to keep the bounds, then bettered step by step."""

from __future__ import annotations

from collections.abc import Iterator

from nas.solver.programme import Design, Programme, Step

REACH = (1, -1, 2, -2, 4, -4, 8, -8)
"""How far states and modes are moved at once."""
PAIRED = 24
"""Moves of each sort that are paired."""


def improve(programme: Programme, design: Design, rounds: int = 60) -> Design | None:
    """A design that keeps all bounds and that no single move betters; None if none is reached.

    What exceeds the bounds goes down first, as fast as the score allows.
    """
    rank = _rank(programme, design)
    for _ in range(rounds):
        found = max(
            ((_rank(programme, other), other) for other in neighbours(programme, design)),
            key=lambda entry: entry[0],
            default=None,
        )
        if found is None or found[0] <= rank:
            break
        rank, design = found
    return design if rank[0] == 0.0 else None


def exchange(programme: Programme, design: Design, rounds: int = 40) -> Design:
    """A design bettered by pairs of moves: one that takes too much, one that makes room for it.

    Args:
        programme: whose bounds hold.
        design: keeps them.
        rounds: pairs of moves at most.
    """
    score = programme.figures(design).score
    for _ in range(rounds):
        ups: list[tuple[float, Design]] = []
        downs: list[tuple[float, Design]] = []
        for other in neighbours(programme, design):
            figures = programme.figures(other)
            if figures.score == float("-inf"):
                continue
            excess = sum(programme.excess(figures).values())
            gain = figures.score - score
            if gain > 0 and excess > 0:
                ups.append((gain / excess, other))
            elif gain < 0 and not excess:
                downs.append((gain, other))
        ups.sort(key=lambda entry: -entry[0])
        downs.sort(key=lambda entry: -entry[0])
        best = (0.0, score, design)
        for _, up in ups[:PAIRED]:
            for _, down in downs[:PAIRED]:
                both = _merged(design, up, down)
                if both is not None and _rank(programme, both) > best[:2]:
                    best = (*_rank(programme, both), both)
        if best[1] <= score:
            break
        _, score, design = best
    return design


def _merged(design: Design, one: Design, other: Design) -> Design | None:
    """A design with the changes of two others; None where they change the same."""
    steps: list[Step] = []
    for old, first, second in zip(design, one, other, strict=True):
        if old not in (first, second):
            return None
        steps.append(second if first == old else first)
    return tuple(steps)


def _rank(programme: Programme, design: Design) -> tuple[float, float]:
    """Larger is better: the excess, below 0, then the score."""
    figures = programme.figures(design)
    if figures.score == float("-inf"):
        return float("-inf"), figures.score
    return -sum(programme.excess(figures).values()), figures.score


def neighbours(programme: Programme, design: Design) -> Iterator[Design]:
    """Designs that differ in one layer's state, mode or copies, or pass copies between two."""
    for index, (layer, step) in enumerate(zip(programme.layers, design, strict=True)):
        for move in REACH:
            if 0 <= step.target + move < layer.shape[1]:
                yield _with_target(design, index, step.target + move)
            if 0 <= step.mode + move < layer.shape[2]:
                yield _with(design, index, step._replace(mode=step.mode + move))
        for move in (1, -1):
            if layer.copies[0] <= step.copies + move <= layer.copies[1]:
                moved = _with(design, index, step._replace(copies=step.copies + move))
                yield moved
                for other in range(index + 1, len(design)):
                    there = moved[other]
                    low, high = programme.layers[other].copies
                    if low <= there.copies - move <= high:
                        yield _with(moved, other, there._replace(copies=there.copies - move))


def _with(design: Design, index: int, step: Step) -> Design:
    return (*design[:index], step, *design[index + 1 :])


def _with_target(design: Design, index: int, target: int) -> Design:
    moved = _with(design, index, design[index]._replace(target=target))
    if index + 1 < len(design):
        moved = _with(moved, index + 1, moved[index + 1]._replace(source=target))
    return moved
