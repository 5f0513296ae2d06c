"""Peak activation memory of a record, from how long each tensor lives.

Without fusion, every result that torch would store is stored, and modules hold their inputs: a
module's call keeps its arguments until the module returns, as the network's caller keeps its. With
fusion there are no modules; what launches write is stored, from the launch that writes it to the
last that reads it, and the network's input throughout.

Not counted: parameters, workspace within an operation, what a forward's local variables hold after
their last use, and fragmentation; nor that a launch may write over what it alone still reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch

from hwprofile.fuse_rules import FuseRules
from hwprofile.launches import Grouper
from hwprofile.record import OpCall, Record, Shape

_Step = tuple[Sequence[int], Sequence[int]]
"""Memories that a step makes, and those that it reads; each by one of its names."""


def peak_bytes(
    record: Record, bytes_per_element: int = 2, *, rules: FuseRules | None = None
) -> int:
    """The most bytes of activations alive at once while the calls, or launches, run in order.

    A call that is neither view nor in-place holds its inputs and all its outputs together. A view
    keeps its base alive and costs nothing; an in-place write costs nothing. Inputs and outputs of
    the record stay alive to the end. What no call reads and is no output dies at once.

    For blocks that each read only the block before, the peak of the chained record is the largest
    of the blocks' peaks, those behind the first with the chain's input added; with `rules`, where
    nothing fuses across blocks.

    Args:
        record: A complete record.
        bytes_per_element: Size of floating-point elements; others count as they are stored.
        rules: What joins what in one launch; None where each operation is one.

    Returns:
        Bytes; at least the inputs', and at least the outputs'.
    """
    sizes = {
        i: _bytes(shape, dtype, bytes_per_element)
        for i, shape, dtype in zip(
            record.inputs, record.input_shapes, record.input_dtypes, strict=True
        )
    }
    if rules is not None:
        return _of_launches(record, sizes, bytes_per_element, rules)
    return _of_calls(record, sizes, bytes_per_element)


def _of_calls(record: Record, sizes: dict[int, int], bytes_per_element: int) -> int:
    roots = {i: i for i in record.inputs}
    steps: list[_Step] = []
    for call in record.calls:
        read = [roots[i] for i in call.inputs]
        if call.aliases:
            roots.update(dict.fromkeys(call.outputs, read[0]))
            steps.append(((), read))
            continue
        made = zip(call.outputs, call.output_shapes, call.output_dtypes, strict=True)
        for i, shape, dtype in made:
            roots[i] = i
            sizes[i] = _bytes(shape, dtype, bytes_per_element)
        steps.append((call.outputs, read))
    held = _held_by_modules(record.calls, steps)
    return _sweep(record.inputs, [roots[i] for i in record.outputs], steps, sizes, held)


def _held_by_modules(
    calls: Sequence[OpCall], steps: Sequence[_Step]
) -> Iterator[tuple[int, Iterable[int]]]:
    """What each module within the network is given, and the last of its calls in a row."""
    made: dict[int, int] = {}
    open_: list[tuple[str, int, set[int]]] = []
    for position, (call, (outputs, read)) in enumerate(zip(calls, steps, strict=True)):
        names = call.path.split(".") if call.path else []
        shared = 0
        while shared < min(len(open_), len(names)) and open_[shared][0] == names[shared]:
            shared += 1
        for _, _, given in open_[shared:]:
            yield position - 1, given
        del open_[shared:]
        open_ += [(name, position, set()) for name in names[shared:]]
        for _, start, given in open_:
            given.update(i for i in read if made.get(i, -1) < start)
        made.update(dict.fromkeys(outputs, position))
    for _, _, given in open_:
        yield len(steps) - 1, given


def _of_launches(
    record: Record, sizes: dict[int, int], bytes_per_element: int, rules: FuseRules
) -> int:
    grouper = Grouper(record, rules)
    steps: list[_Step] = []
    for launch in sorted(grouper.launches, key=lambda launch: launch.position):
        written = [i for i in launch.made if grouper.uses[i] > 0 or i == launch.made[-1]]
        for i in written:
            each = grouper.itemsize.get(i, bytes_per_element)
            sizes[i] = grouper.numel[i] * each
        read = [grouper.value[i] for i in launch.reads]
        if launch.main >= 0:
            read.append(grouper.value[launch.main])
        steps.append((written, read))
    outputs = [grouper.value[i] for i in record.outputs]
    return _sweep(record.inputs, outputs, steps, sizes, ())


def _sweep(
    inputs: Sequence[int],
    outputs: Sequence[int],
    steps: Sequence[_Step],
    sizes: Mapping[int, int],
    held: Iterable[tuple[int, Iterable[int]]],
) -> int:
    """The largest sum of live sizes over the steps in order.

    Args:
        held: positions up to which memories live, though nothing may read them.
    """
    last: dict[int, int] = {}
    for position, (made, read) in enumerate(steps):
        last.update(dict.fromkeys(read, position))
        last.update(dict.fromkeys(made, position))
    for position, memories in held:
        for i in memories:
            last[i] = max(last[i], position)
    last.update(dict.fromkeys((*inputs, *outputs), len(steps)))
    dying: dict[int, int] = {}
    for i, position in last.items():
        dying[position] = dying.get(position, 0) + sizes[i]
    peak = alive = sum([sizes[i] for i in inputs])
    for position, (made, _) in enumerate(steps):
        alive += sum([sizes[i] for i in made])
        peak = max(peak, alive)
        alive -= dying.get(position, 0)
    return peak


def _bytes(shape: Shape, dtype: torch.dtype, bytes_per_element: int) -> int:
    each = bytes_per_element if dtype.is_floating_point else dtype.itemsize
    return math.prod(shape) * each
