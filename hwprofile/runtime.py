"""What runs a network: which operations become one launch, in which layout, at which price of host.

A `Runtime` is data; `launches` turns a record's operations into the kernels that it launches.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwprofile.kernel import FLOAT_BYTES, SCHEMES, Kernel

if TYPE_CHECKING:
    from hwprofile.record import Record

LIBRARY: frozenset[str] = frozenset(
    {
        "convolution",
        "linear",
        "matmul",
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "mv",
        "dot",
        "scaled_dot_product_attention",
    }
)
"""Operations whose kernels come from a library where others are generated."""
CPU_LIBRARY: frozenset[str] = LIBRARY | {
    "cumsum",
    "topk",
    "sort",
    "_upsample_bicubic2d_aa",
    "_upsample_bilinear2d_aa",
}
"""The same on a CPU, where more operations have no generated form."""


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
    """How images lie in memory: `nhwc` (channels-last) or `nchw` (row-major, or what each operation
    chooses)."""
    schemes: tuple[str, ...]
    """Precision schemes that it runs, of `hwprofile.kernel.SCHEMES`."""
    extern: frozenset[str]
    """Operations that are calls of a library where others are generated."""
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
            schemes=SCHEMES,
            extern=frozenset(),
            fuses=True,
            casts=False,
            dispatches=False,
            summary="Compiled, with epilogues in products and convolutions, replayed as a graph.",
        ),
        Runtime(
            name="eager",
            kind="cuda",
            layout="nhwc",
            schemes=tuple(FLOAT_BYTES),
            extern=frozenset(),
            fuses=False,
            casts=True,
            dispatches=True,
            summary="PyTorch as it is on CUDA: a launch an operation, 16 bits by autocast.",
        ),
        Runtime(
            name="inductor",
            kind="cuda",
            layout="nhwc",
            schemes=tuple(FLOAT_BYTES),
            extern=LIBRARY,
            fuses=True,
            casts=False,
            dispatches=True,
            summary="torch.compile on CUDA: library convolutions and products, the rest fused.",
        ),
        Runtime(
            name="cpu-eager",
            kind="cpu",
            layout="nchw",
            schemes=("fp32", "bf16", "fp16"),
            extern=frozenset(),
            fuses=False,
            casts=False,
            dispatches=True,
            summary="PyTorch as it is on a CPU: a call an operation, images row-major.",
        ),
        Runtime(
            name="cpu-inductor",
            kind="cpu",
            layout="nhwc",
            schemes=("fp32", "bf16", "fp16"),
            extern=CPU_LIBRARY,
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


def launches(
    record: Record, runtime: Runtime, scheme: str = "fp16", *, within: bool = False
) -> tuple[Kernel, ...]:
    """The kernels that a runtime launches for a record, in order.

    Args:
        record: a record without holes, traced in the runtime's layout.
        runtime: what runs it.
        scheme: one of the runtime's schemes.
        within: whether the record is a part of a network, whose images come in the runtime's layout
            already; a whole network is given row-major ones.

    Raises:
        ValueError: for a scheme that the runtime does not run, a record traced in another layout,
            or where a hole is left.
    """
    if scheme not in runtime.schemes:
        raise ValueError(
            f"the runtime {runtime.name} runs {', '.join(runtime.schemes)}; got '{scheme}'"
        )
    if record.layout != runtime.layout:
        raise ValueError(
            f"a record for {runtime.name} must be traced with layout='{runtime.layout}'; this one "
            f"was with '{record.layout}'"
        )
    # Here, for a target has a runtime, and its prices need no torch.
    from hwprofile.cpu_eager import cpu_eager_kernels
    from hwprofile.eager import eager_kernels
    from hwprofile.fuse import fuse
    from hwprofile.inductor import cpu_inductor_kernels, inductor_kernels

    match runtime.name:
        case "cuda-graph":
            return fuse(record, scheme)
        case "inductor":
            return inductor_kernels(record, scheme)
        case "eager":
            return tuple(eager_kernels(record, scheme))
        case "cpu-eager":
            return tuple(cpu_eager_kernels(record, scheme))
        case _:
            return tuple(cpu_inductor_kernels(record, scheme, within=within))
