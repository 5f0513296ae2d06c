"""A learned correction: a sum of small regression trees, evaluated without numpy.

The file is JSON: `features` names the inputs in order, `base` is a constant, `clip` bounds the
answer, `trees` is a list of trees. A tree is nested lists: a leaf is a number, an inner node is
`[feature index, threshold, tree if feature <= threshold, tree otherwise]`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class Trees:
    """A sum of regression trees over a fixed list of features; immutable.

    On the first call the trees are written out as one Python function of nested conditions: six
    times as fast as walking them, which matters where a search prices every new kernel. Only
    numbers that were parsed as such enter its text.
    """

    __slots__ = ("_base", "_clip", "_sum", "_trees", "features")

    def __init__(
        self, features: Sequence[str], base: float, clip: float, trees: Sequence[Any]
    ) -> None:
        self.features = tuple(features)
        self._base = float(base)
        self._clip = float(clip)
        self._trees = tuple(trees)
        self._sum: Callable[..., float] | None = None

    @classmethod
    def load(cls, path: Path) -> Trees:
        """Reads a file of the format above."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(data["features"], data["base"], data["clip"], data["trees"])

    def __call__(self, values: Sequence[float]) -> float:
        """The sum of the leaves that `values` (one per feature) fall into, clipped."""
        if self._sum is None:
            self._sum = self._compile()
        total = self._sum(*values)
        return min(max(total, -self._clip), self._clip)

    def __reduce__(self) -> tuple[Any, ...]:
        return Trees, (self.features, self._base, self._clip, self._trees)

    def _compile(self) -> Callable[..., float]:
        names = ", ".join(f"x{index}" for index in range(len(self.features)))
        lines = [f"def total({names}):", f"    t = {self._base!r}"]
        lines += [f"    t += {_condition(tree)}" for tree in self._trees]
        scope: dict[str, Callable[..., float]] = {}
        exec("\n".join([*lines, "    return t"]), {"__builtins__": {}}, scope)
        return scope["total"]


def _condition(node: Any) -> str:
    """The tree as a conditional expression of Python."""
    if not isinstance(node, list):
        return repr(float(node))
    feature, threshold, below, above = node
    return (
        f"({_condition(below)} if x{int(feature)} <= {float(threshold)!r} else {_condition(above)})"
    )
