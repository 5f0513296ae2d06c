"""Whether the five packages of this project are the ones that Python imports."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGES = ("searchspace", "predictors", "hwprofile", "kernels")
_MARK = "# This package belongs to the project nas."


class NameClashError(ImportError):
    """Another distribution's package stands in the place of one of ours."""


def check_names() -> None:
    """Raise unless every package is ours.

    `kernels` above all is a name that other distributions use. Reads the packages' first lines
    instead of importing them, since a stranger's import could do anything.

    Raises:
        NameClashError: says which package is not ours, where it is, and the cure.
    """
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin) if spec is not None and spec.origin else None
        if origin is None or not origin.read_text("utf-8", errors="replace").startswith(_MARK):
            raise NameClashError(
                f"the package '{name}' that Python finds ({origin or 'nowhere'}) is not the one of "
                "nas: another distribution of that name is installed; uninstall it "
                f"(pip uninstall {name}), or install nas in a virtual environment of its own"
            )
