"""A learned correction: a sum of small symmetric regression trees, evaluated on many rows at once.

All nodes of one level of a symmetric tree ask the same question (Dorogush et al., "CatBoost:
gradient boosting with categorical features support", 2018), so a tree of depth d is d questions
and 2^d leaves, and a row's leaf is the number whose binary digits are its answers.

The file is JSON: `features` names the inputs in order, `base` is a constant, `clip` bounds the
answer, `trees` is a list of `[[feature, threshold] of each level, leaves]`; a leaf counts steps of
`STEP`, the answer to a question is whether the feature is above the threshold.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEP = 1e-4
"""What leaves are rounded to in the file."""
_CHUNK = 4096
"""Rows at once: bounds the memory of a call."""


class Trees:
    """A sum of symmetric trees of one depth over a fixed list of features; immutable."""

    __slots__ = ("_base", "_clip", "_digits", "_feature", "_leaves", "_threshold", "features")

    def __init__(
        self, features: Sequence[str], base: float, clip: float, trees: Sequence[Any]
    ) -> None:
        """Takes the content of a file.

        Raises:
            ValueError: trees of several depths, or leaves that are not two to their depth.
        """
        self.features = tuple(features)
        self._base, self._clip = float(base), float(clip)
        depth = len(trees[0][0]) if trees else 0
        for questions, leaves in trees:
            if len(questions) != depth or len(leaves) != 2**depth:
                raise ValueError(
                    f"every tree must have {depth} questions and {2**depth} leaves; got "
                    f"{len(questions)} and {len(leaves)}"
                )
        questions = np.array([tree[0] for tree in trees], dtype=float).reshape(len(trees), depth, 2)
        self._feature = questions[:, :, 0].astype(np.intp)
        self._threshold = questions[:, :, 1].copy()
        self._leaves = np.array([tree[1] for tree in trees], dtype=float).ravel() * STEP
        self._digits = 2 ** np.arange(depth - 1, -1, -1)

    @classmethod
    def load(cls, path: Path) -> Trees:
        """Reads a file of the format above."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(data["features"], data["base"], data["clip"], data["trees"])

    def __call__(self, rows: Array) -> Array:
        """The clipped sum `[rows]` of the leaves that `rows` `[rows, features]` fall into."""
        if rows.ndim != 2 or rows.shape[1] != len(self.features):
            raise ValueError(f"rows must be [rows, {len(self.features)}]; got {rows.shape}")
        total = np.full(len(rows), self._base)
        first = np.arange(len(self._feature)) * 2 ** len(self._digits)
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            answers = rows[part][:, self._feature] > self._threshold
            total[part] += self._leaves[first + answers @ self._digits].sum(axis=1)
        return np.asarray(np.clip(total, -self._clip, self._clip))
