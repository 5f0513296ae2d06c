"""An architecture: a derivation tree of a named space, with its identity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from searchspace.text import TreeTextError, from_json, to_json, to_text
from searchspace.tree import Node


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A derivation tree of a named space. Equal trees are equal architectures."""

    space: str
    """Name of the space whose grammar generates the tree."""
    root: Node
    """Expansion of the grammar's first rule."""

    @cached_property
    def text(self) -> str:
        """One line that `searchspace.text.from_text` reads back to the same tree."""
        return to_text(self.root)

    @cached_property
    def key(self) -> str:
        """Identity of the tree: 16 hexadecimal digits, the same in every process and machine."""
        return hashlib.blake2b(self.text.encode(), digest_size=8).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The JSON form: `space`, `key` and the nested `tree`."""
        return {"space": self.space, "key": self.key, "tree": to_json(self.root)}

    @classmethod
    def from_json(cls, record: object) -> Architecture:
        """Read what `to_json` wrote.

        Raises:
            TreeTextError: a field is missing or wrong, or the key is not that of the tree.
        """
        if not isinstance(record, dict) or not isinstance(record.get("space"), str):
            raise TreeTextError("an architecture must be an object with 'space' and 'tree'")
        architecture = cls(space=record["space"], root=from_json(record.get("tree")))
        if record.get("key", architecture.key) != architecture.key:
            raise TreeTextError(
                f"the tree's key is {architecture.key}, but the file says {record['key']}: "
                "the file was changed by hand or damaged; remove 'key' to accept the tree as it is"
            )
        return architecture
