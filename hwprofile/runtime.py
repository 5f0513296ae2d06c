"""What runs a network: which operations become one launch, in which layout, at which price of host.

A `Runtime` is data; `launches` turns a record's operations into the kernels that it launches.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwprofile.kernel import Kernel

if TYPE_CHECKING:
    from hwprofile.record import Record


class UnknownRuntimeError(ValueError):
    """A name that is no runtime's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How operations are run."""

    name: str
    """The name it is asked for by."""
    kind: str
    """What it runs on: `cuda` or `cpu`."""
    layout: str
    """How images lie in memory: `nhwc` (channels-last) or `nchw` (row-major)."""
    fuses: bool
    """Whether operations join one launch; else each is one."""
    casts: bool
    """Whether schemes of 16 bits are autocast, with its casts; else all tensors have 16 bits."""
    dispatches: bool
    """Whether the host dispatches each launch, so that a small network waits for it."""
    summary: str
    """What it is, in one sentence."""


RUNTIMES: Mapping[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            name="cuda-graph",
            kind="cuda",
            layout="nhwc",
            fuses=True,
            casts=False,
            dispatches=False,
            summary="Compiled, with epilogues in products and convolutions, replayed as a graph.",
        ),
        Runtime(
            name="eager",
            kind="cuda",
            layout="nhwc",
            fuses=False,
            casts=True,
            dispatches=True,
            summary="PyTorch as it is on CUDA: a launch an operation, 16 bits by autocast.",
        ),
        Runtime(
            name="inductor",
            kind="cuda",
            layout="nhwc",
            fuses=True,
            casts=False,
            dispatches=True,
            summary="torch.compile on CUDA: library convolutions and products, the rest fused.",
        ),
        Runtime(
            name="cpu-eager",
            kind="cpu",
            layout="nchw",
            fuses=False,
            casts=False,
            dispatches=True,
            summary="PyTorch as it is on a CPU: a call an operation, images row-major.",
        ),
        Runtime(
            name="cpu-inductor",
            kind="cpu",
            layout="nhwc",
            fuses=True,
            casts=False,
            dispatches=True,
            summary="torch.compile on a CPU with `torch._inductor.config.freezing` on.",
        ),
    )
}
"""The runtimes by name."""
CUDA_GRAPH = RUNTIMES["cuda-graph"]


def get_runtime(name: str) -> Runtime:
    """The runtime called `name`.

    Raises:
        UnknownRuntimeError: no such name.
    """
    if name not in RUNTIMES:
        close = difflib.get_close_matches(name, RUNTIMES, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise UnknownRuntimeError(
            f"a runtime must be one of {', '.join(RUNTIMES)}; got '{name}'{hint}"
        )
    return RUNTIMES[name]


def launches(record: Record, runtime: Runtime, scheme: str = "fp16") -> tuple[Kernel, ...]:
    """The kernels that a runtime launches for a record, in order.

    Args:
        record: a record without holes, traced in the runtime's layout.
        runtime: what runs it.
        scheme: one of `hwprofile.kernel.SCHEMES`.

    Raises:
        ValueError: for an unknown scheme, or where a hole is left.
    """
    # Here, for a target has a runtime, and its prices need no torch.
    from hwprofile.eager import eager_kernels
    from hwprofile.fuse import fuse

    if runtime.fuses:
        return fuse(record, scheme)
    return tuple(eager_kernels(record))
