"""What a benchmark runs: inputs of realistic sizes, torch's own way to compute the same, and how
many bytes and operations the task needs at least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kernels.operation import Arguments, Make


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchProblem:
    """One input on which an operation's versions are timed against each other."""

    operation: str
    """The name in `kernels.catalogue`."""
    name: str
    """Unique among the operation's."""
    make: Make
    """Makes the arguments of the operation's public function."""
    by_torch: Callable[..., Tensor]
    """torch's own version: what `eager` and `compile` run."""
    torch_inputs: Callable[[Arguments], Arguments] = lambda arguments: arguments
    """From the operation's arguments to those of `by_torch`; not timed. Quantized problems are
    given to torch as the product of floats that they replace."""
    others: Mapping[str, Callable[..., Tensor]] = field(default_factory=dict)
    """More rivals by name, which take the operation's arguments."""
    dtypes: tuple[torch.dtype, ...] = (torch.float16,)
    """Precisions that are timed on a GPU; a CPU takes float32, or what the operation is for."""
    rate: str = ""
    """Format of the arithmetic, such as `int8`, of which a device has a peak; empty: the dtype's
    tensor cores, or `fp32` where `cores` is false."""
    cores: bool = True
    """Whether the operation is a matrix product, which tensor cores do."""
    flops: int
    """Operations that the result needs, two for a multiply-add."""
    elements: int
    """Elements read or written once that are as wide as the dtype."""
    bytes: int = 0
    """Bytes beside those: weights of 4 bits, say."""

    @property
    def quantized(self) -> bool:
        """Whether weights are narrower than the dtype: such problems are for GPUs."""
        return self.bytes > 0

    def moved(self, dtype: torch.dtype) -> int:
        """Bytes that must be moved at least."""
        return self.elements * dtype.itemsize + self.bytes

    def inputs(self, dtype: torch.dtype, device: torch.device, seed: int = 0) -> Arguments:
        """The arguments, of random values; images channels-last."""
        return self.make(torch.Generator().manual_seed(seed), dtype, device)
