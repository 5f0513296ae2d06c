"""The class `Network` of an exported file: a line for each part, a line or a few for each block."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from keyword import iskeyword

from nas.export.layout import WIDTH, Expression, Nest, lines, runs
from searchspace.build import Call, Part, flow, plan
from searchspace.primitives.base import Primitive
from searchspace.shapes import TensorSpec
from searchspace.tree import Node

_WIDTHS = ("channels", "num_features", "normalized_shape")


def primitives_of(parts: Sequence[Part | Call]) -> list[Primitive]:
    """The primitives of a plan in the order that data flow through them, each once."""
    found: dict[str, Primitive] = {}
    for part in parts:
        inner: Sequence[Part | Call]
        if isinstance(part, Call):
            found.setdefault(part.primitive.name, part.primitive)
            inner = [call for body in part.bodies for call in body]
        else:
            inner = part.content
        found |= {p.name: p for p in primitives_of(inner) if p.name not in found}
    return list(found.values())


def method_name(name: str, parts: Sequence[Part]) -> str:
    """The name under which `Network` has a method: with an underscore if a part is called so."""
    while name in {part.name for part in parts}:
        name += "_"
    return name


def batched(spec: TensorSpec) -> str:
    """A tensor's shape with the batch, such as `[B, 3, 224, 224]`."""
    return f"[B, {', '.join(map(str, spec.shape))}]"


def network_lines(root: Node, spec: TensorSpec) -> Iterator[str]:
    """The lines of the class `Network`."""
    parts, specs = plan(root, spec), _specs(root, spec)
    yield "class Network(nn.Sequential):"
    yield f'    """Runs its parts in order: {batched(specs[0])} to {batched(specs[-1])}."""'
    yield ""
    yield "    def __init__(self) -> None:"
    yield "        super().__init__()"
    for part, (before, after) in zip(parts, pairwise(specs), strict=True):
        if after != before:
            yield f"        # {batched(before)} to {batched(after)}"
        yield from _assignment(part)
    yield from _features(root, spec)
    yield from _merge(parts)


def _assignment(part: Part) -> Iterator[str]:
    if _plain(part.name):
        yield from lines(_part(part), 8, f"self.{part.name} = ")
    else:
        yield from lines(Nest("self.add_module(", (f'"{part.name}"', _part(part))), 8)


def _plain(name: str) -> bool:
    """Whether a part can be written as an attribute inside a class."""
    return not iskeyword(name) and not name.startswith("__")


def _part(part: Part) -> Expression:
    rows = [_part(inner) for inner in part.content if isinstance(inner, Part)]
    if rows:
        return Nest("nn.Sequential(", runs(rows))
    return _sequence([call for call in part.content if isinstance(call, Call)])


def _sequence(plan: Sequence[Call]) -> Expression:
    items = tuple(map(_call, plan))
    return items[0] if len(items) == 1 else Nest("nn.Sequential(", items)


def _call(call: Call) -> Expression:
    module = call.primitive.module
    bodies = tuple(map(_sequence, call.bodies))
    # A layer's width goes without its name, where it is the next argument anyway.
    following = list(inspect.signature(module).parameters)[len(bodies) :][:1]
    bare = [name for name in following if name in _WIDTHS and [*call.arguments][:1] == following]
    items = []
    for name, value in call.arguments.items():
        text = json.dumps(value) if isinstance(value, str) else repr(value)
        items.append(text if name in bare else f"{name}={text}")
    return Nest(f"{module.__name__}(", (*bodies, *items))


def last_maps(root: Node, spec: TensorSpec) -> list[int]:
    """How many parts data have passed at the last map of each resolution."""
    specs = _specs(root, spec)
    return [
        i
        for i in range(1, len(specs))
        if specs[i].mode == "image"
        and (i + 1 == len(specs) or specs[i + 1].shape[1:] != specs[i].shape[1:])
    ]


def _specs(root: Node, spec: TensorSpec) -> list[TensorSpec]:
    """What enters the first part, then what leaves each."""
    return list(accumulate(root.flat(), lambda s, child: flow(child, s), initial=spec))


def _features(root: Node, spec: TensorSpec) -> Iterator[str]:
    """A method that gives the last map of each resolution, if there are maps."""
    parts, specs, ends = plan(root, spec), _specs(root, spec), last_maps(root, spec)
    if not ends:
        return
    yield ""
    yield f"    def {method_name('features', parts)}(self, x: Tensor) -> list[Tensor]:"
    yield '        """The last map of each resolution, as detectors and segmenters take them.'
    yield ""
    shapes = ", ".join(batched(specs[i]) for i in ends)
    yield from textwrap.wrap(f"{' ' * 8}Shapes: {shapes}.", WIDTH, subsequent_indent=" " * 8)
    yield '        """'
    maps = [f"x{number + 1}" for number in range(len(ends))]
    for source, result, start, end in zip(["x", *maps], maps, [0, *ends], ends, strict=False):
        yield from _steps(parts[start:end], source, result)
    yield from lines(Nest("return [", tuple(maps), "]"), 8)


def _steps(parts: Sequence[Part], source: str, result: str) -> Iterator[str]:
    """Assign to `result` what parts in a row make of `source`."""
    getters = [f"self.{p.name}" if _plain(p.name) else f'getattr(self, "{p.name}")' for p in parts]
    nested = source
    for getter in getters:
        nested = f"{getter}({nested})"
    if len(nested) + len(result) + 11 <= WIDTH:
        yield f"        {result} = {nested}"
        return
    for getter in getters:
        yield f"        {result} = {getter}({source})"
        source = result


def _merge(parts: Sequence[Part]) -> Iterator[str]:
    """A method that merges parallel branches, if any layer has them."""
    names = " | ".join(p.module.__name__ for p in primitives_of(parts) if p.merged)
    if not names:
        return
    yield ""
    yield f"    def {method_name('merge', parts)}(self) -> None:"
    yield '        """Replace parallel branches by the one layer that equals them in eval mode."""'
    yield "        for module in list(self.modules()):"
    yield f"            if isinstance(module, {names}):"
    yield "                module.merge()"
