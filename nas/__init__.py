"""Deciding, running and telling: the search itself, its record, and what comes out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.export.folder import load
    from nas.rewrite.optimize import optimize

__all__ = ["load", "optimize"]


def __getattr__(name: str) -> object:
    # Looked up when first asked for, so that `import nas` does not take torch along.
    if name == "load":
        from nas.export.folder import load

        return load
    if name == "optimize":
        from nas.rewrite.optimize import optimize

        return optimize
    raise AttributeError(f"module 'nas' has no attribute '{name}'")
