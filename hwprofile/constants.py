"""The constants of the estimate: those chosen (`constants.toml`) and those fitted (`data/`)."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
"""Where the tables lie."""


@cache
def constants() -> dict[str, Any]:
    """The content of `constants.toml` joined with `data/fitted.toml`."""
    chosen = tomllib.loads((FOLDER / "constants.toml").read_text(encoding="utf-8"))
    fitted = tomllib.loads((FOLDER / "data" / "fitted.toml").read_text(encoding="utf-8"))
    return {**chosen, **fitted, "stream": {**chosen["stream"], **fitted["stream"]}}
