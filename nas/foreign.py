"""Imports modules of other people, with a remedy for the one fault of theirs that is common."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

import torch

_BROKEN = "operator torchvision::nms does not exist"
_NMS = "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_foreign(name: str) -> ModuleType:
    """The module called `name`, imported.

    A torchvision that was built against another torch, as pip leaves it beside a CPU build, fails
    to register its operators and then to import, and with it timm and whatever else asks for a
    transform of its. On exactly that fault the operator that it misses is declared, without an
    implementation, and the import tried again: no network's forward calls it.
    """
    try:
        return importlib.import_module(name)
    except Exception as fault:
        if _BROKEN not in str(fault):
            raise
        _declare_operators()
        return importlib.import_module(name)


@cache
def _declare_operators() -> torch.library.Library:
    # Kept by the cache: a library that is collected takes its operators with it.
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define(_NMS)  # type: ignore[no-untyped-call]
    return library
