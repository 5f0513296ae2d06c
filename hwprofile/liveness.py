"""Peak activation memory of a record, from how long each tensor lives."""

from __future__ import annotations

import math

import torch

from hwprofile.record import Record, Shape


def peak_bytes(record: Record, bytes_per_element: int = 2) -> int:
    """The most bytes of activations alive at once while the calls run in order.

    Counted are the inputs and what calls write: a call that is neither view nor in-place holds its
    inputs and all its outputs together. Memory is alive from the call that writes it (an input's
    from the start) to the last call that reads it through any name; a view keeps its base alive and
    costs nothing; an in-place write costs nothing. Outputs stay alive to the end. What no call
    reads and is no output dies at once. Parameters, workspace within a kernel and fragmentation are
    not counted, nor is fusion: every intermediate that torch would store is stored.

    For blocks that each read only the block before, the peak of the chained record is the largest
    of the blocks' peaks.

    Args:
        record: A complete record.
        bytes_per_element: Size of floating-point elements; others count as they are stored.

    Returns:
        Bytes; at least the inputs', and at least the outputs'.
    """
    roots = {i: i for i in record.inputs}
    sizes = {
        i: _bytes(shape, dtype, bytes_per_element)
        for i, shape, dtype in zip(
            record.inputs, record.input_shapes, record.input_dtypes, strict=True
        )
    }
    last = _last_reads(record, roots, sizes, bytes_per_element)
    return _sweep(record, roots, sizes, last)


def _last_reads(
    record: Record, roots: dict[int, int], sizes: dict[int, int], bytes_per_element: int
) -> dict[int, int]:
    """Position of each memory's last use; fills `roots` (whose memory) and `sizes` (bytes)."""
    last = dict.fromkeys(record.inputs, -1)
    for position, call in enumerate(record.calls):
        for i in call.inputs:
            last[roots[i]] = position
        if call.aliases:
            base = roots[call.inputs[0]]
            for i in call.outputs:
                roots[i] = base
            continue
        made = zip(call.outputs, call.output_shapes, call.output_dtypes, strict=True)
        for i, shape, dtype in made:
            roots[i], last[i] = i, position
            sizes[i] = _bytes(shape, dtype, bytes_per_element)
    for i in record.outputs:
        last[roots[i]] = len(record.calls)
    return last


def _sweep(
    record: Record, roots: dict[int, int], sizes: dict[int, int], last: dict[int, int]
) -> int:
    """The largest sum of live sizes over the calls in order."""
    dying: dict[int, int] = {}
    for i, position in last.items():
        dying[position] = dying.get(position, 0) + sizes[i]
    alive = sum(sizes[i] for i in record.inputs)
    peak = alive
    alive -= dying.get(-1, 0)
    for position, call in enumerate(record.calls):
        if not call.aliases:
            alive += sum([sizes[i] for i in call.outputs])
            peak = max(peak, alive)
        alive -= dying.get(position, 0)
    return peak


def _bytes(shape: Shape, dtype: torch.dtype, bytes_per_element: int) -> int:
    each = bytes_per_element if dtype.is_floating_point else dtype.itemsize
    return math.prod(shape) * each
