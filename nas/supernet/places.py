"""Where the weights of a network live in the bank: a key and a slice for every parameter.

A key is `place/symbol[number]/name:shape`, such as `stage1.0/depthwise/conv.weight:64x1x7x7`:

* *place*: the part's name in `searchspace.build.plan` and the index in its row. Blocks share by
  index, so a shallower stage is the beginning of a deeper one (depth);
* *symbol*: the primitive, numbered where a block holds it more than once. Another primitive at the
  same place has other weights; the same primitive in another arrangement of the block has the same;
* *name*: the parameter's own name. A branch of `dilated_reparam` goes by its kernel and dilation,
  since the list of branches differs from kernel to kernel;
* *shape*: the largest that the place can ask for, that of `sizes.largest_relative`. Sizes that
  alternatives spell out literally give other shapes and so share nothing.

The slice of a smaller request is the first channels (width, ratio), as in AutoFormer (Chen et al.,
arXiv 2107.00651, section 3.2), and the central window of a kernel, as in OFA (Cai et al., arXiv
1908.09791, section 3.2) without its kernel transformation matrices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import ge

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from searchspace.build import Call, Part, module_of, plan
from searchspace.primitives.convolution import DILATED_BRANCHES
from searchspace.shapes import TensorSpec
from searchspace.tree import Node

Shape = tuple[int, ...]
Fingerprint = tuple[object, ...]
"""What tells one constructor call from another; hashable."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one parameter of a network lives in the bank."""

    name: str
    """Name of the parameter in the network."""
    key: str
    """Name of the tensor in the bank."""
    index: tuple[slice, ...]
    """The part of that tensor which the network computes with."""
    whole: bool
    """Whether that part is all of it."""
    origin: Call
    """The call whose module has the tensor's shape, for the initial values."""
    parameter: str
    """Lasting name of the parameter in that module."""


def fingerprint(call: Call) -> Fingerprint:
    """Equal for calls that build equal modules."""
    bodies = tuple(tuple(map(fingerprint, body)) for body in call.bodies)
    return (call.primitive.name, tuple(sorted(call.arguments.items())), bodies)


def lasting_name(call: Call, name: str) -> str:
    """A parameter's name that means the same for all arguments of the primitive."""
    rename = _RENAMED.get(call.primitive.name)
    return rename(call, name) if rename else name


def _dilated_branch(call: Call, name: str) -> str:
    parts, number, rest = name.split(".", 2)
    kernel = int(call.arguments["kernel"])
    size, dilation = ((0, 0), *DILATED_BRANCHES[kernel])[int(number)]
    branch = f"{size}x{dilation}" if size else "large"
    return f"{branch}.{parts}.{rest}"


def _branch_kernel(name: str) -> dict[str, int]:
    """The smallest kernel that has the branch of a lasting name."""
    branch = name.split(".")[0]
    shapes = {k: [f"{size}x{d}" for size, d in b] for k, b in DILATED_BRANCHES.items()}
    return {"kernel": min(k for k, found in shapes.items() if branch in (*found, "large"))}


_RENAMED: Mapping[str, Callable[[Call, str], str]] = {"dilated_reparam": _dilated_branch}
_HOLDERS: Mapping[str, Callable[[str], dict[str, int]]] = {"dilated_reparam": _branch_kernel}
"""Arguments that decide which call gives the initial values, so that all who share them agree."""


@dataclass(slots=True)
class Architect:
    """Lays out networks without weights; keeps the modules, since making them costs the most.

    Modules are shared between all networks laid out here. They hold neither weights nor
    statistics: these are passed in at every call.
    """

    spec: TensorSpec
    """Input of the networks."""
    modules: dict[tuple[Fingerprint, int], nn.Module] = field(default_factory=dict)
    """Module of the n-th call with this fingerprint in a network."""
    shapes: dict[Fingerprint, dict[str, Shape]] = field(default_factory=dict)
    """Shapes of a call's parameters by lasting name."""

    def lay_out(self, root: Node, largest: Node) -> tuple[nn.Sequential, list[Slot]]:
        """The network of a tree on the meta device, and where its weights live.

        Args:
            largest: the tree's `largest_relative`.
        """
        work = _Layout(self)
        network = nn.Sequential()
        parts, bounds = plan(root, self.spec), plan(largest, self.spec)
        for part, bound in zip(parts, bounds, strict=True):
            network.add_module(part.name, work.part(part, bound, part.name))
        return network, list(work.slots(network))

    def module(self, call: Call, number: int) -> nn.Module:
        """The n-th module of a call without bodies."""
        key = (fingerprint(call), number)
        if key not in self.modules:
            self.modules[key] = _skeleton(call)
        return self.modules[key]

    def parameter_shapes(self, call: Call) -> dict[str, Shape]:
        """Shapes of the parameters that a call's module has, by lasting name."""
        key = fingerprint(call)
        if key not in self.shapes:
            with torch.device("meta"):
                named = list(module_of(call).named_parameters())
            self.shapes[key] = {lasting_name(call, n): tuple(p.shape) for n, p in named}
        return self.shapes[key]


def _skeleton(call: Call) -> nn.Module:
    """A module with its parameters on the meta device and its buffers real."""
    with torch.device("meta"):
        module = module_of(call)
    if any(True for _ in module.buffers()):
        with torch.random.fork_rng(devices=[]):
            real = module_of(call)
        for name, buffer in real.named_buffers():
            owner, _, leaf = name.rpartition(".")
            module.get_submodule(owner).register_buffer(leaf, buffer)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = None  # the plain mean over all batches, for recalibration
    return module


@dataclass(slots=True)
class _Owner:
    """A module in a network that was made by one call."""

    place: str
    call: Call
    bound: Call
    """The call at the same position of the largest relative."""


class _Layout:
    """One network in the making."""

    def __init__(self, architect: Architect) -> None:
        self.architect = architect
        self.owners: dict[int, _Owner] = {}
        self.used: Counter[Fingerprint] = Counter()

    def part(self, part: Part, bound: Part, place: str) -> nn.Module:
        rows = [
            self.part(p, b, f"{place}.{p.name}")
            for p, b in zip(part.content, bound.content, strict=True)
            if isinstance(p, Part) and isinstance(b, Part)
        ]
        if rows or not part.content:
            return nn.Sequential(*rows)
        calls = [c for c in part.content if isinstance(c, Call)]
        bounds = [c for c in bound.content if isinstance(c, Call)]
        return self.row(calls, bounds, place, Counter())

    def row(
        self, calls: Sequence[Call], bounds: Sequence[Call], place: str, seen: Counter[str]
    ) -> nn.Module:
        modules = [self.call(c, b, place, seen) for c, b in zip(calls, bounds, strict=True)]
        return modules[0] if len(modules) == 1 else nn.Sequential(*modules)

    def call(self, call: Call, bound: Call, place: str, seen: Counter[str]) -> nn.Module:
        symbol = call.primitive.name
        seen[symbol] += 1
        number = str(seen[symbol]) if seen[symbol] > 1 else ""
        if call.bodies:
            pairs = zip(call.bodies, bound.bodies, strict=True)
            bodies = [self.row(body, widest, place, seen) for body, widest in pairs]
            with torch.device("meta"):
                module = call.primitive.module(*bodies, **call.arguments)
        else:
            kind = fingerprint(call)
            module = self.architect.module(call, self.used[kind])
            self.used[kind] += 1
        self.owners[id(module)] = _Owner(f"{place}/{symbol}{number}", call, bound)
        return module

    def slots(
        self, module: nn.Module, path: str = "", owner: _Owner | None = None, root: str = ""
    ) -> Iterator[Slot]:
        """Slots of all parameters below a module; the innermost call that made one owns it."""
        if id(module) in self.owners:
            owner, root = self.owners[id(module)], path
        for leaf, parameter in module.named_parameters(recurse=False):
            assert owner is not None
            name = f"{path}{leaf}"
            centred = isinstance(module, _ConvNd)
            yield self.slot(name, name.removeprefix(root), tuple(parameter.shape), owner, centred)
        for name, child in module.named_children():
            yield from self.slots(child, f"{path}{name}.", owner, root)

    def slot(self, path: str, name: str, shape: Shape, owner: _Owner, centred: bool) -> Slot:
        lasting = lasting_name(owner.call, name)
        origin = self.origin(owner, lasting, shape)
        largest = self.architect.parameter_shapes(origin)[lasting]
        key = f"{owner.place}/{lasting}:{'x'.join(map(str, largest))}"
        index = _index(shape, largest, centred)
        return Slot(path, key, index, shape == largest, origin, lasting)

    def origin(self, owner: _Owner, name: str, shape: Shape) -> Call:
        """The largest call that has this parameter, no smaller than asked for.

        The largest relative of a dilated layer may lack a branch; then a kernel that has it
        decides, and the relative tells only how many channels there are.
        """
        call, bound = owner.call, owner.bound
        own = {p.name: call.arguments[p.name] for p in call.primitive.parameters}
        holder = _HOLDERS[call.primitive.name](name) if call.primitive.name in _HOLDERS else {}
        widened = Call(call.primitive, {**bound.arguments, **own, **holder}, bound.bodies)
        for candidate in (bound, widened):
            largest = self.architect.parameter_shapes(candidate).get(name, ())
            if len(largest) == len(shape) and all(map(ge, largest, shape)):
                return candidate
        return call


def _index(shape: Shape, largest: Shape, centred: bool) -> tuple[slice, ...]:
    """First channels; central window of the dimensions from the third on, in convolutions."""
    index = []
    for dimension, (size, most) in enumerate(zip(shape, largest, strict=True)):
        start = (most - size) // 2 if centred and dimension >= 2 else 0
        index.append(slice(start, start + size))
    return tuple(index)
