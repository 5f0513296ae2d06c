"""Prices of the loops that TorchInductor generates for a CPU, from eager calls of their operations.

A generated loop reads and writes memory once and does the arithmetic of all its operations on the
way. What arithmetic costs is what an eager call of the operation takes beyond one that only moves
as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hwprofile.cpu_features import Array
from hwprofile.cpu_fit import Prices
from hwprofile.kernel import FLOAT_BYTES, Kernel

_MOVES = "relu"
"""An eager call that does next to no arithmetic."""
_FREE = frozenset({"relu", "add", "mul", "sub", "copy", "cat", "view", "reshape", "contiguous"})
"""Operations whose arithmetic hides behind the memory that they move."""


def fused_prices(kernels: Sequence[Kernel], eager: Prices) -> Array:
    """Times in ms `[kernels]` of generated loops.

    Args:
        kernels: of runtime `cpu-inductor`, none of them a library's.
        eager: prices of eager calls in the same precision.
    """
    moving = [_moving(kernel) for kernel in kernels]
    times = eager(moving)
    work: list[Kernel] = []
    owner: list[int] = []
    for i, kernel in enumerate(kernels):
        for name in kernel.ops:
            if name not in _FREE:
                work.append(_eager(kernel, name))
                owner.append(i)
    if work:
        beyond = np.maximum(eager(work) - eager([_moving(k) for k in work]), 0.0)
        np.add.at(times, owner, beyond)
    dispatch = eager([_tiny(kernel) for kernel in kernels])
    joined = np.array([kernel.joined for kernel in kernels])
    # Loops that join another's function are not called apart.
    result: Array = np.where(joined, np.maximum(times - dispatch, 0.1 * times), times)
    return result


def _moving(kernel: Kernel) -> Kernel:
    """An eager call that moves as many bytes."""
    size = FLOAT_BYTES[kernel.scheme]
    read = kernel.read_bytes + kernel.weight_bytes
    moved = max((read + kernel.write_bytes) // 2, size)
    return Kernel(
        op="elementwise",
        scheme=kernel.scheme,
        m=moved // size,
        flops=moved // size,
        read_bytes=read,
        write_bytes=kernel.write_bytes,
        ops=(_MOVES,),
        layout=kernel.layout,
        shape=kernel.shape,
    )


def _tiny(kernel: Kernel) -> Kernel:
    size = FLOAT_BYTES[kernel.scheme]
    return Kernel(
        op="elementwise",
        scheme=kernel.scheme,
        m=1,
        flops=1,
        read_bytes=size,
        write_bytes=size,
        ops=(_MOVES,),
        shape=(1, 1),
    )


def _eager(kernel: Kernel, name: str) -> Kernel:
    """The eager call of one operation of a loop."""
    size = FLOAT_BYTES[kernel.scheme]
    own = name in ("layer_norm", "group_norm", "softmax", "sum", "mean", "amax") or "pool" in name
    if own and kernel.op != "elementwise":
        elements = max(kernel.m * kernel.n, kernel.m)
        return replace(
            kernel,
            ops=(name,),
            read_bytes=max(elements * size, kernel.read_bytes if "pool" in name else 0),
            weight_bytes=0,
            joined=False,
        )
    elements = max(kernel.write_bytes // size, 1)
    return Kernel(
        op="elementwise",
        scheme=kernel.scheme,
        m=elements,
        flops=elements,
        read_bytes=elements * size,
        write_bytes=elements * size,
        ops=(name,),
        layout=kernel.layout,
        shape=kernel.shape,
    )
