"""Imports modules of other people, with a remedy for the one fault of theirs that is common."""

from __future__ import annotations

import importlib
import re
import sys
from contextlib import redirect_stdout
from types import ModuleType

import torch

_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")
_ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_ALWAYS_ASKED_FOR = ("nms", "qnms")
_LIBRARIES: list[torch.library.Library] = []
"""Kept, as a library that is collected takes its operators with it."""


def import_foreign(name: str) -> ModuleType:
    """The module called `name`, imported.

    A torchvision that was built against another torch, as pip leaves it beside a CPU build, fails
    to register its operators and then to import, and with it timm and whatever else asks for a
    transform of its. On exactly that fault the operators that it misses are declared, without an
    implementation, and the import tried again: no network's forward calls them.
    """
    # What a module has to say while it loads is no part of a command's output.
    with redirect_stdout(sys.stderr):
        try:
            return importlib.import_module(name)
        except Exception as fault:
            missing = _MISSING.search(str(fault))
            if missing is None:
                raise
            _declare({*_ALWAYS_ASKED_FOR, missing.group(1)})
            return importlib.import_module(name)


def _declare(names: set[str]) -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in sorted(names):
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _ARGUMENTS)  # type: ignore[no-untyped-call]
    _LIBRARIES.append(library)
