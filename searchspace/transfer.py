"""The weights of a larger network from those of a smaller one, by `searchspace.align`'s actions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from searchspace.actions import Action, Place
from searchspace.align import align
from searchspace.architecture import Architecture
from searchspace.build import Call, Part, build, plan
from searchspace.flows import Copies, MorphError, spread
from searchspace.layouts import GATES, LAYOUTS
from searchspace.shapes import TensorSpec


@torch.no_grad()
def transfer(
    old: Architecture,
    new: Architecture,
    spec: TensorSpec,
    weights: nn.Module | Mapping[str, Tensor],
) -> nn.Sequential:
    """The network of a larger architecture that computes what a smaller one does.

    Args:
        old: the smaller architecture.
        new: the larger one, such as that of a `searchspace.morph.Morph`.
        spec: input of both networks.
        weights: the smaller network in training form, or its `state_dict`. Left alone.

    Weights that may be anything, as those of a new branch before its last layer, are drawn from
    torch's global generator.

    Raises:
        MorphError: the larger one cannot compute the same; says why.
        ShapeError: an architecture does not fit the input.
        RuntimeError: the weights are not those of the smaller one.
    """
    actions = align(old.root, new.root, spec)
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    dtypes = (t.dtype for t in state.values() if t.is_floating_point())
    dtype = next(dtypes, torch.float32)
    source, network = (build(root, spec).to(dtype=dtype) for root in (old.root, new.root))
    source.load_state_dict(state)
    before = dict(_modules(plan(old.root, spec), source))
    after = dict(_modules(plan(new.root, spec), network))
    for action in actions:
        _perform(action, before.get(action.old), after[action.new])
    if isinstance(weights, nn.Module):
        network.train(weights.training)
    return network


def _perform(action: Action, before: nn.Module | None, after: nn.Module) -> None:
    named = dict(after.named_parameters())
    if action.kind == "zero":
        for name in LAYOUTS[action.node.symbol].zero:
            named[name].zero_()
    elif action.kind == "half":
        for name in GATES[action.node.symbol]:
            named[name].zero_()
    elif before is None:
        raise MorphError(f"the smaller network has no layer for '{action.node.symbol}'")
    elif action.kind == "copy":
        after.load_state_dict(before.state_dict())
    elif action.kind == "own":
        for name, tensor in before.named_parameters(recurse=False):
            named[name].copy_(tensor)
    else:
        _map(action, before, after)


def _map(action: Action, before: nn.Module, after: nn.Module) -> None:
    layout, entering = LAYOUTS[action.node.symbol], action.entering
    assert entering is not None
    assert action.before is not None
    old = before.state_dict()
    for name, tensor in after.state_dict().items():
        partner: str | None = name
        if layout.partner is not None:
            partner = layout.partner(name, action.before, action.node)
        if partner is None:
            if name.startswith("norms.") and name.endswith(("weight", "bias")):
                tensor.zero_()  # a branch that there was not
            continue
        value = old[partner]
        letters = layout.weights.get(name, "..kk" if layout.kernels and tensor.dim() == 4 else "")
        for axis, letter in enumerate(letters):
            size = tensor.shape[axis]
            value = _along(axis, letter, value, size, entering.copies, action.leaving)
        if name in layout.absorbs or "i" in letters:
            value = value / entering.factor
        tensor.copy_(value)


def _along(
    axis: int, letter: str, value: Tensor, size: int, entering: Copies, leaving: Copies
) -> Tensor:
    """A tensor mapped along one axis: see `searchspace.layouts.Layout`."""
    width = value.shape[axis]
    if letter in "kd":
        shape = list(value.shape)
        shape[axis] = size
        padded = value.new_full(shape, 1.0 if letter == "d" else 0.0)
        start = (size - width) // 2 if letter == "k" else 0
        padded.narrow(axis, start, width).copy_(value)
        return padded
    if letter in "23":
        kinds = int(letter)
        rows = [i * (width // kinds) for i in range(kinds)]
        one = spread(width // kinds, size // kinds)
        return value.index_select(axis, torch.tensor([row + i for row in rows for i in one]))
    copies: Copies = None
    if letter in "hs":
        copies = spread(width, size)
    elif letter in "oic":
        copies = leaving if letter == "o" else entering
    if copies is None:
        return value
    index = torch.tensor(copies)
    value = value.index_select(axis, index)
    if letter not in "is":
        return value
    shape = [1] * value.dim()
    shape[axis] = size
    return value * torch.tensor(_shares(copies), dtype=torch.float64).to(value).reshape(shape)


def _shares(copies: Sequence[int]) -> list[float]:
    """What each copy has of the weights that read it: 1, 2, … parts, so that copies learn apart.

    Wang et al., LEMON (arXiv 2310.07999): with equal shares they would stay equal for ever.
    """
    seen: Counter[int] = Counter()
    parts = []
    for copied in copies:
        seen[copied] += 1
        parts.append(seen[copied])
    sums = [seen[copied] * (seen[copied] + 1) / 2 for copied in copies]
    return [part / whole for part, whole in zip(parts, sums, strict=True)]


def _modules(parts: tuple[Part, ...], network: nn.Module) -> Iterator[tuple[Place, nn.Module]]:
    """Every layer and composite of a network with its place."""
    calls: list[Call] = []
    modules: list[nn.Module] = []
    for part, module in zip(parts, network.children(), strict=True):
        for call, layer in _layers(part, module):
            calls.append(call)
            modules.append(layer)
    yield from _placed(calls, modules, ())


def _layers(part: Part, module: nn.Module) -> Iterator[tuple[Call, nn.Module]]:
    calls = [content for content in part.content if isinstance(content, Call)]
    yield from zip(calls, _row(calls, module), strict=True)
    rows = [content for content in part.content if isinstance(content, Part)]
    if rows:
        for inner, child in zip(rows, module.children(), strict=True):
            yield from _layers(inner, child)


def _row(calls: list[Call], module: nn.Module) -> list[nn.Module]:
    """The modules of calls in a row, as `searchspace.build.sequence_of` makes them."""
    if not calls:
        return []
    return [module] if len(calls) == 1 else list(module.children())


def _placed(
    calls: list[Call], modules: list[nn.Module], place: Place
) -> Iterator[tuple[Place, nn.Module]]:
    for number, (call, module) in enumerate(zip(calls, modules, strict=True)):
        here = (*place, number)
        yield here, module
        if not call.bodies:
            continue
        children = list(module.children())
        if len(children) == 1 and isinstance(children[0], nn.ModuleList):
            children = list(children[0])
        if len(children) != len(call.bodies):
            raise MorphError(f"cannot tell the sequences of '{call.primitive.name}' apart")
        for b, (body, child) in enumerate(zip(call.bodies, children, strict=True)):
            yield from _placed(list(body), _row(list(body), child), (*here, b))
