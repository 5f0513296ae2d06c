"""Whether replacements compute what the modules did that they stand for."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nas.rewrite.plan import Region


class OptimizeError(ValueError):
    """A network that cannot be optimised, or whose optimised form computes something else."""


def layer_errors(
    network: nn.Module, regions: Sequence[Region], inputs: Sequence[Tensor], tolerance: float
) -> list[float]:
    """Compare each region's new layer with its modules, on what reaches them in the network.

    Differences that a network hides, behind a factor near 0 for instance, show here.

    Args:
        network: the original; gets hooks for the time of the call.
        regions: see `nas.rewrite.plan`.
        inputs: of the network.
        tolerance: as in `nas.rewrite.report.TOLERANCES`.

    Returns:
        For each region the largest difference, as a share of the largest value.

    Raises:
        OptimizeError: one passes the tolerance.
    """
    if not regions:
        return []
    errors = [0.0] * len(regions)
    modules = dict(network.named_modules())
    with contextlib.ExitStack() as hooks, torch.no_grad(), full_float32():
        for index, region in enumerate(regions):
            made: list[Tensor] = []
            first, last = modules[region.paths[0]], modules[region.paths[-1]]
            for path in region.paths:
                before = modules[path].register_forward_pre_hook(
                    _names(region, path), with_kwargs=True
                )
                hooks.callback(before.remove)
            maker = first.register_forward_pre_hook(_maker(region, made), with_kwargs=True)
            hooks.callback(maker.remove)
            hooks.callback(last.register_forward_hook(_comparer(made, index, errors)).remove)
        run(network, inputs)
    for region, error in zip(regions, errors, strict=True):
        if not error <= tolerance:
            raise OptimizeError(
                f"{region.operation} in the place of '{' + '.join(region.paths)}' differs by "
                f"{error:.2e} of the largest value; at most {tolerance:.0e} is allowed. Give a "
                "wider tolerance if its values may be that coarse"
            )
    return errors


def output_error(
    original: nn.Module, optimised: nn.Module, inputs: Sequence[Tensor], tolerance: float
) -> float:
    """Compare two networks on the same inputs.

    Returns:
        The largest difference, as a share of the largest value of the output that has it.

    Raises:
        OptimizeError: it passes the tolerance, or the outputs cannot be compared.
    """
    with torch.no_grad(), full_float32():
        expected, found = run(original, inputs), run(optimised, inputs)
    if not expected or not all(t.isfinite().all() for t in expected):
        raise OptimizeError(
            "the check needs outputs that are finite tensors: give an input on which the network "
            "makes such"
        )
    pairs = zip(expected, found, strict=False)
    error = max(difference(a, b) for a, b in pairs) if len(expected) == len(found) else torch.inf
    if not error <= tolerance:
        raise OptimizeError(
            f"the optimised network's output differs by {error:.2e} of the largest value; at most "
            f"{tolerance:.0e} is allowed. Give a wider tolerance if its values may be that coarse"
        )
    return error


def difference(expected: Tensor, found: Tensor) -> float:
    """Largest difference as a share of the largest finite value; infinite if shapes or dtypes do
    not agree, or if one alone is NaN or infinite somewhere."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return torch.inf
    if expected.numel() == 0:
        return 0.0
    if expected.is_complex():
        expected, found = torch.view_as_real(expected), torch.view_as_real(found)
    a, b = expected.double(), found.double()
    same = (a == b) | (a.isnan() & b.isnan())
    apart = (a - b).abs().masked_fill(same, 0.0).nan_to_num(nan=torch.inf)
    largest = a.masked_fill(~a.isfinite(), 0.0).abs().max().item()
    return apart.max().item() / (largest or 1.0)


Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]


def _names(region: Region, path: str) -> Hook:
    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs:
            region.named[path] = tuple(inspect.signature(module.forward).parameters)

    return note


def _maker(region: Region, made: list[Tensor]) -> Hook:
    def make(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = inspect.signature(module.forward).bind(*args, **kwargs).args if kwargs else args
        # At once and on copies: what runs next may write into the arguments.
        made.append(region.layer(*[x.clone() if isinstance(x, Tensor) else x for x in given]))

    return make


def _comparer(
    made: list[Tensor], index: int, errors: list[float]
) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
    def compare(module: nn.Module, args: tuple[Any, ...], result: Tensor) -> None:
        errors[index] = max(errors[index], difference(result, made.pop()))

    return compare


def run(network: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that a network returns for copies of these inputs.

    Raises:
        OptimizeError: its forward looks into a layer that was replaced.
    """
    try:
        result = network(*[x.clone() for x in inputs])
    except AttributeError as fault:
        raise OptimizeError(
            f"the network looks into a layer that was replaced: {fault}. Call the layer instead"
        ) from fault
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Keep torch from TF32, whose errors are larger than what is to be found."""
    with torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=torch.backends.cudnn.benchmark,
        deterministic=torch.backends.cudnn.deterministic,
        allow_tf32=False,
    ):
        yield
