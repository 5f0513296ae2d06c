"""A learned correction: a sum of small regression trees, evaluated without numpy.

The file is JSON: `features` names the inputs in order, `base` is a constant, `clip` bounds the
answer, `trees` is a list of trees. A tree is nested lists: a leaf is a number, an inner node is
`[feature index, threshold, tree if feature <= threshold, tree otherwise]`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Trees:
    """A sum of regression trees over a fixed list of features; immutable."""

    __slots__ = ("_base", "_clip", "_trees", "features")

    def __init__(
        self, features: Sequence[str], base: float, clip: float, trees: Sequence[Any]
    ) -> None:
        self.features = tuple(features)
        self._base = float(base)
        self._clip = float(clip)
        # Tuples: their look-up is a little faster than that of lists, and they cannot change.
        self._trees = tuple(_frozen(tree) for tree in trees)

    @classmethod
    def load(cls, path: Path) -> Trees:
        """Reads a file of the format above."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(data["features"], data["base"], data["clip"], data["trees"])

    def __call__(self, values: Sequence[float]) -> float:
        """The sum of the leaves that `values` (one per feature) fall into, clipped."""
        total = self._base
        for node in self._trees:
            while node.__class__ is tuple:
                node = node[2] if values[node[0]] <= node[1] else node[3]
            total += node
        return min(max(total, -self._clip), self._clip)


def _frozen(node: Any) -> Any:
    if isinstance(node, list):
        return (node[0], node[1], _frozen(node[2]), _frozen(node[3]))
    return float(node)
