"""Builds timm's models on the meta device, without weights and without torchvision.

timm is needed by these benchmarks alone (`pip install timm --no-deps` and what it then asks for).
It imports torchvision, which `nas.foreign` has load beside a CPU build of torch; where there is
none, its names stand for empty classes here, as no model's forward needs it.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any

from torch import nn

from hwprofile.meta_build import on_meta
from hwprofile.record import Record
from hwprofile.trace import trace
from nas.foreign import import_foreign


class _AnyName(type):
    """A class any of whose attributes is its own name, as enumerations' members are used."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Stub(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _AnyName(name, (), {})


class _Finder(MetaPathFinder, Loader):
    """Finds `torchvision` and all below it as stubs."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "torchvision":
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Stub(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__dict__["__version__"] = "0.0.0"


def import_timm() -> types.ModuleType:
    """The module `timm`.

    Raises:
        ImportError: timm, or something else that it needs, is not installed.
    """
    if find_spec("torchvision") is None:
        sys.meta_path.append(_Finder())
    return import_foreign("timm")


def build(name: str, resolution: int) -> nn.Module:
    """A model for images of a size, on the meta device.

    Args:
        name: timm's name of the architecture.
        resolution: height and width; models that serve any size are not told.
    """
    timm = import_timm()
    with warnings.catch_warnings(), on_meta():
        warnings.simplefilter("ignore")
        try:
            model = timm.create_model(name, img_size=resolution)
        except TypeError:
            model = timm.create_model(name)
    return model.eval()


WIDE_GATES = ":widese"
"""What a name of EfficientNet may end in."""


def widen_gates(model: nn.Module) -> None:
    """Size every squeeze-excite gate from the width it gates, not from the block's input.

    So NVIDIA's DeepLearningExamples (PyTorch/Classification/ConvNets) define their `widese`
    variants of EfficientNet: a quarter of the expanded channels.
    """
    for module in model.modules():
        if type(module).__name__ == "SqueezeExcite":
            reduce: Any = module.conv_reduce
            wide = int(reduce.in_channels * 0.25)
            with on_meta():
                module.conv_reduce = nn.Conv2d(reduce.in_channels, wide, 1)
                module.conv_expand = nn.Conv2d(wide, reduce.in_channels, 1)


def record_of(name: str, resolution: int, batch: int) -> Record:
    """The operations of a model for a batch of square colour images.

    Args:
        name: timm's name, perhaps with `WIDE_GATES` behind it.
        resolution: height and width.
        batch: images.
    """
    plain = name.removesuffix(WIDE_GATES)
    model = build(plain, resolution)
    if plain != name:
        widen_gates(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trace(model, (batch, 3, resolution, resolution))
