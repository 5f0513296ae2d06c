"""`nas.optimize`: a network with this project's operators in it, checked against the original."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hwprofile.trace import TraceError, trace
from nas.gpu_target import gpu_target
from nas.rewrite.check import OptimizeError, layer_errors, output_error
from nas.rewrite.flow import Flow
from nas.rewrite.layer import Keywords
from nas.rewrite.lift import lift
from nas.rewrite.plan import Region, plan
from nas.rewrite.report import TOLERANCES, Replaced, Report
from nas.rewrite.residual import residual_regions

__all__ = ["OptimizeError", "Optimized", "optimize"]

Input = Sequence[int] | Tensor
"""An input's shape with the batch, or the input itself."""


class Optimized(NamedTuple):
    """A network and what was done to it."""

    module: nn.Module
    """For inference: no parameter takes a gradient."""
    report: Report
    """What was replaced and what was left."""


def optimize(
    module: nn.Module,
    *inputs: Input,
    target: str | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> Optimized:
    """Replace the layers of a network by this project's operators, as far as it has some.

    The network is traced on meta tensors; a layer takes in the batch norm and the activation behind
    it where the trace shows that nothing else reads what passes between them. Then each replacement
    and the whole network are compared with the original on random input. Operators run Triton on
    GPUs that it serves and torch elsewhere.

    Args:
        module: in evaluation mode. It is not changed: a copy is. Its control flow must not depend
            on values, and should not depend on shapes other than those given.
        *inputs: for each input its shape with the batch, or a tensor, as it is needed for other
            values than random ones. None: an image of 224 or 32 pixels or a row of features, as the
            first layer takes.
        target: the GPU that the network will run on, as in `nas kernels inspect`, or `cpu`, for
            which batch norms are folded and nothing else, as the operators are torch's own
            operations there. None takes the operators whatever the device.
        tolerance: largest difference allowed, as a share of the largest value; None: by dtype,
            `nas.rewrite.report.TOLERANCES`.
        seed: of the random inputs.

    Returns:
        The new network and the report.

    Raises:
        OptimizeError: the module is in training mode, cannot be traced, needs inputs that were not
            given, or its optimised form computes something else.
        UnknownTargetError: no GPU of that name is known.
    """
    _refuse_training(module)
    refused = None
    if target == "cpu":
        refused = "on a CPU the operators are torch's own operations"
    elif target is not None:
        gpu_target(target)
    first = next(module.parameters(), torch.zeros(()))
    dtype = first.dtype if first.is_floating_point() else torch.float32
    allowed = TOLERANCES.get(dtype, TOLERANCES[torch.float32]) if tolerance is None else tolerance
    shapes, flow = _traced(module, inputs)
    given = _drawn(shapes, dtype, first.device, seed)

    network = copy.deepcopy(module).requires_grad_(False)
    lifts, unlifted = lift(network, flow, given, allowed)
    if lifts:
        network = _swapped(network, {id(each.original): each.module for each in lifts})
        try:
            _, flow = _traced(network, shapes)
        except OptimizeError:  # Something looks into a module that was lifted.
            network = _swapped(network, {id(each.module): each.original for each in lifts})
            lifts = []
    regions, left = plan(network, flow, refused=refused)
    taken = {path for region in regions for path in region.paths}
    for each in lifts:
        if taken.isdisjoint(each.new):
            network = _swapped(network, {id(each.module): each.original})
            left = [entry for entry in left if entry.path not in each.new]
    replaced = _described(network, regions, layer_errors(network, regions, given, allowed))
    network = _replaced(network, regions)
    sums = residual_regions(network, flow)
    replaced += _described(network, sums, layer_errors(network, sums, given, allowed))
    network = _replaced(network, sums)
    error = output_error(module, network, given, allowed)
    reasons = {entry.path: entry for entry in unlifted}
    left = [reasons.pop(entry.path, entry) for entry in left] + list(reasons.values())
    report = Report(replaced=tuple(replaced), left=tuple(left), error=error, tolerance=allowed)
    return Optimized(network, report)


def _refuse_training(module: nn.Module) -> None:
    for path, part in module.named_modules():
        if part.training:
            name = f"'{path}'" if path else "the module"
            raise OptimizeError(
                f"{name} is in training mode, where norms and drop-out do something else: call "
                ".eval() on the whole network first"
            )


def _traced(module: nn.Module, inputs: Sequence[Input]) -> tuple[Sequence[Input], Flow]:
    """Trace a module with the inputs given, or with the first guess that it serves."""
    if inputs:
        try:
            return inputs, Flow(trace(module, *inputs))
        except (TraceError, RuntimeError, TypeError, AttributeError) as fault:
            raise OptimizeError(f"the network cannot be traced: {fault}") from fault
    faults = []
    for shape in _guesses(module):
        try:
            return (shape,), Flow(trace(module, shape))
        except (TraceError, RuntimeError, TypeError) as fault:
            faults.append(f"{shape}: {fault}")
    tried = "; ".join(faults) or "no first layer that tells"
    raise OptimizeError(
        "no input could be guessed: give its shape, as in nas.optimize(module, (1, 3, 224, 224)). "
        f"Tried {tried}"
    )


def _guesses(module: nn.Module) -> Iterator[tuple[int, ...]]:
    """Shapes that the first layer with a known number of channels may take."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            yield from ((2, part.in_channels, size, size) for size in (224, 32))
            return
        if isinstance(part, nn.Linear):
            yield from ((2, part.in_features), (2, 16, part.in_features))
            return


def _drawn(
    shapes: Sequence[Input], dtype: torch.dtype, device: torch.device, seed: int
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        shape.to(device)
        if isinstance(shape, Tensor)
        else torch.randn(tuple(shape), generator=generator).to(device, dtype)
        for shape in shapes
    ]


def _described(
    network: nn.Module, regions: Sequence[Region], errors: Sequence[float]
) -> list[Replaced]:
    kinds = {path: type(part).__name__ for path, part in network.named_modules()}
    return [
        Replaced(
            path=region.paths[0],
            operation=region.operation,
            covers=region.paths,
            kinds=tuple(kinds[path] for path in region.paths),
            error=error,
        )
        for region, error in zip(regions, errors, strict=True)
    ]


def _replaced(network: nn.Module, regions: Sequence[Region]) -> nn.Module:
    """Put the new layers in, under every path that their modules have."""
    modules = dict(network.named_modules())
    new: dict[int, nn.Module] = {}
    for region in regions:
        stand_ins = (region.layer, *(nn.Identity() for _ in region.paths[1:]))
        for path, layer in zip(region.paths, stand_ins, strict=True):
            names = region.named.get(path)
            new[id(modules[path])] = (Keywords(layer, names) if names else layer).eval()
    # A new layer may hold modules that are replaced too, as residuals within residuals do.
    within = [part for region in regions for part in region.layer.modules()]
    return _swapped(network, new, within)


def _swapped(
    network: nn.Module, new: Mapping[int, nn.Module], within: Sequence[nn.Module] = ()
) -> nn.Module:
    """Put modules in the place of others, which go by their `id`, in a network and in `within`."""
    for parent in [*network.modules(), *within, *new.values()]:
        for name, child in parent._modules.items():
            if child is not None and id(child) in new:
                parent._modules[name] = new[id(child)]
    return new.get(id(network), network)
