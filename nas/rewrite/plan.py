"""What is to be replaced: chains of a layer, the norm and scale behind it and the activation.

A chain is taken only where the trace shows that nothing else reads what passes between its modules,
and that each of them runs once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from nas.rewrite.flow import Flow
from nas.rewrite.layer import Layer
from nas.rewrite.lifts import Scale
from nas.rewrite.patterns import (
    Pattern,
    activation_of,
    affine_of,
    is_foldable,
    meddled,
    pattern_of,
)
from nas.rewrite.products import Product, torch_conv
from nas.rewrite.report import TOLERANCES, Left

_UNKNOWN = "no operation for it"
_TURNS = 3
_NOT_RUN = "it ran nothing in the forward pass that was traced"


@dataclass(slots=True, kw_only=True)
class Region:
    """Modules in a row and the one that does their work."""

    paths: tuple[str, ...]
    """Their paths, first to last."""
    layer: nn.Module
    """What takes the first one's place; the others become identities."""
    operation: str
    """Operator of `kernels.library`, or `torch.conv2d`."""
    named: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By path, the names of the arguments of modules that are called with keywords."""


def plan(
    network: nn.Module, flow: Flow, *, refused: str | None = None
) -> tuple[list[Region], list[Left]]:
    """Choose what to replace, and tell why the rest stays.

    Args:
        network: in evaluation mode; is not changed.
        flow: from a trace of it.
        refused: why no operator is to be used; then batch norms are folded and nothing else.

    Returns:
        Regions that do not overlap, and the modules without children that stay.
    """
    planner = _Planner(network, flow, refused)
    # What is replaced whole comes before its parts, a layer before the norm that it can take in.
    for turn in range(_TURNS):
        for path in planner.modules:
            planner.take(path, turn)
    order = list(planner.modules)
    regions = sorted(planner.regions, key=lambda region: order.index(region.paths[0]))
    return regions, planner.left()


def _turn(module: nn.Module, pattern: Pattern) -> int:
    if isinstance(module, nn.BatchNorm2d):
        return 2
    return 0 if next(module.children(), None) is not None or not pattern.op else 1


class _Planner:
    def __init__(self, network: nn.Module, flow: Flow, refused: str | None) -> None:
        # A module under several paths goes by its first, as in the trace.
        self.modules = dict(network.named_modules())
        self.flow, self.refused = flow, refused
        self.regions: list[Region] = []
        self.reasons: dict[str, str] = {}
        self.covered: set[str] = set()

    def take(self, path: str, turn: int) -> None:
        """Replace the module at `path`, with what follows, if it is its turn and can be done."""
        module = self.modules[path]
        pattern = pattern_of(module)
        if pattern is None or path in self.covered or _turn(module, pattern) != turn:
            return
        layer = self._layer(path, module, pattern)
        if isinstance(layer, str):
            self.reasons[path] = layer
            if isinstance(module, nn.Conv2d) and pattern.op == "convolution":
                self._fold_only(path, module, pattern)
            return
        paths = [path]
        if pattern.op and self._runs_once(path, pattern):
            paths += self._take_in(path, layer)
        self._cover(paths, layer, layer.operation)

    def _take_in(self, path: str, layer: Layer) -> list[str]:
        """Have a layer do what alone follows it, as far as it can; paths of that."""
        taken: list[str] = []
        while (behind := self._behind(taken[-1] if taken else path)) is not None:
            module = self.modules[behind]
            if isinstance(layer, Product) and layer.folds and is_foldable(module):
                assert isinstance(module, nn.BatchNorm2d)
                layer.fold(module)
            elif isinstance(layer, Product) and (pair := affine_of(module)) is not None:
                images = len(self.flow.at(behind)[0].output_shapes[0]) == 4
                if isinstance(module, Scale):
                    images = module.images
                if not layer.scale(*pair, images=images):
                    break
            else:
                layer.activation = activation_of(module) or "none"
                return [*taken, behind] if layer.activation != "none" else taken
            taken.append(behind)
        return taken

    def left(self) -> list[Left]:
        """The modules without children that stay, with reasons."""
        found = []
        for path, module in self.modules.items():
            if path in self.covered or next(module.children(), None) is not None:
                continue
            if isinstance(module, nn.Identity | nn.Dropout | nn.Sequential):
                continue
            reason = self.reasons.get(path, _UNKNOWN)
            if not self.flow.runs(path):
                reason = _NOT_RUN
            found.append(Left(path=path, kind=type(module).__name__, reason=reason))
        return found

    def _layer(self, path: str, module: nn.Module, pattern: Pattern) -> Layer | str:
        if not self.flow.runs(path):
            return _NOT_RUN
        if reason := meddled(module) or self.refused:
            return reason
        if pattern.image and any(len(c.input_shapes[0]) != 4 for c in self.flow.at(path)):
            return "its input is no batch of images"
        if reason := self._mixed(path, module):
            return reason
        return pattern.make(module)

    def _mixed(self, path: str, module: nn.Module) -> str | None:
        """Why operators would refuse a module's dtypes; None if they would not."""
        inside = f"{path}." if path else ""
        calls = [c for c in self.flow.calls if c.path == path or c.path.startswith(inside)]
        dtypes = {dtype for call in calls for dtype in call.output_dtypes}
        dtypes |= {p.dtype for p in module.parameters()}
        dtypes |= {b.dtype for b in module.buffers() if b.is_floating_point()}
        if len(dtypes) == 1 and dtypes <= TOLERANCES.keys():
            return None
        names = sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)
        return f"operators take one floating-point dtype; it has {', '.join(names)}"

    def _fold_only(self, path: str, conv: nn.Conv2d, pattern: Pattern) -> None:
        """Fold the batch norm behind a convolution into torch's own."""
        if meddled(conv) or not self._runs_once(path, pattern):
            return
        behind = self._behind(path, "batch_norm")
        if behind is None or not is_foldable(self.modules[behind]):
            return
        norm = self.modules[behind]
        assert isinstance(norm, nn.BatchNorm2d)
        self._cover([path, behind], torch_conv(conv, norm), "torch.conv2d")

    def _runs_once(self, path: str, pattern: Pattern) -> bool:
        seen = sum(call.op == pattern.op for call in self.flow.at(path))
        return seen == pattern.times(self.modules[path])

    def _behind(self, path: str, op: str | None = None) -> str | None:
        """Path of the module that alone reads what the one at `path` made, if it runs once."""
        call = self.flow.next(path)
        if call is None or len(call.inputs) != 1 or (op is not None and call.op != op):
            return None
        known = call.path in self.modules and call.path not in self.covered
        return call.path if known and len(self.flow.at(call.path)) == 1 else None

    def _cover(self, paths: list[str], layer: nn.Module, operation: str) -> None:
        self.regions.append(Region(paths=tuple(paths), layer=layer, operation=operation))
        self.covered.update(paths)
        inside = f"{paths[0]}." if paths[0] else ""
        self.covered.update(path for path in self.modules if path.startswith(inside))
