"""The one fault of an export that a user can cure."""

from __future__ import annotations


class ExportError(ValueError):
    """An export that cannot be written or read; the message says what to do about it."""
