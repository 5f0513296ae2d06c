"""What torch's allocator holds while a module runs on the CPU: the truth about memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Most bytes held at once during one call, beyond what was held before it."""

    tensors: int
    """Of memory that outlives the operation that asked for it: results, and nothing else."""
    all: int
    """With the workspace of operations: what they give back before they return."""


def held_bytes(call: Callable[[], object]) -> Held:
    """Run a call once and tell what it had allocated on the CPU.

    Memory that the caller holds already, such as inputs and parameters, is not counted; what the
    call returns is. A library's memory that does not come from torch's allocator is not seen.

    Args:
        call: runs in this thread; run it before, so that what is made once is there.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = call()
    del kept
    # The tree of events alone tells which operation asked for memory.
    tree = profiler.profiler.kineto_results.experimental_event_tree()
    found = sorted(_changes(tree, -1), key=lambda change: change[0])
    return Held(tensors=_peak(_lasting(found)), all=_peak([size for _, _, _, size in found]))


_Change = tuple[int, int, int, int]
"""When memory was taken or given back, by which outermost operation (-1: by none), where, and how
many bytes, negative when given back."""


def _changes(events: Sequence[Any], top: int) -> Iterator[_Change]:
    for number, event in enumerate(events):
        fields = event.extra_fields
        if hasattr(fields, "alloc_size"):
            yield event.start_time_ns, top, fields.ptr, fields.alloc_size
        yield from _changes(event.children, number if top < 0 else top)


def _lasting(changes: Sequence[_Change]) -> list[int]:
    """Sizes of the changes without those of memory that one operation took and gave back."""
    taken: dict[int, int] = {}
    sizes = [size for _, _, _, size in changes]
    for place, (_, top, where, size) in enumerate(changes):
        if size > 0:
            taken[where] = place
            continue
        begun = taken.pop(where, None)
        # Given back without having been taken: it was there before the call.
        if begun is None:
            sizes[place] = 0
        elif top >= 0 and changes[begun][1] == top:
            sizes[begun] = sizes[place] = 0
    return sizes


def _peak(sizes: Sequence[int]) -> int:
    alive = most = 0
    for size in sizes:
        alive += size
        most = max(most, alive)
    return most
