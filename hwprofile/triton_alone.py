"""One Triton operation launched alone, timed the way Triton's `do_bench` does.

Such a time has an event before and after the launch and finds nothing in L2, which is flushed
before each run:

    time = max(host, events + waves · row + bytes / (DRAM bandwidth · efficiency))

Backward passes and both passes together go through autograd, whose host time nothing undercuts. A
gated MLP is three products of the library and one Triton kernel. Times are microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hwprofile.constants import constants
from hwprofile.cuda_target import CudaTarget
from hwprofile.estimate import Estimate
from hwprofile.kernel import FLOAT_BYTES, Kernel

MODES = ("forward", "backward", "full")
"""Passes that a row may time; `full` is both."""
OPS = ("rope", "swiglu", "geglu", "cross_entropy", "layer_norm", "rms_norm")
"""Operations that are priced as Triton kernels."""
FORWARD_ALONE = ("swiglu", "geglu")
"""Operations of which no backward pass was timed, nor would be simple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonConstants:
    """What such a time holds beside its bytes; in `constants.toml`, with sources."""

    event_us: float
    """Events around the launch, and the launch."""
    row_us: float
    """A program that walks along one row, beyond its bytes."""
    l2_share: float
    """Share of the L2 cache in which a row's second reading finds what the first left."""
    host_us: Mapping[str, float]
    """Autograd's host time, by mode."""
    range: tuple[float, float]
    """Ends of the 90 % range over the value."""
    unmeasured: tuple[float, float]
    """The same for operations, passes and devices without rows."""


class TritonModel:
    """Prices Triton operations on one device."""

    __slots__ = ("_constants", "_target")

    def __init__(self, target: CudaTarget) -> None:
        self._target = target
        self._constants = TritonConstants(**constants()["triton"])

    def estimate(self, op: str, scheme: str, mode: str, sizes: Mapping[str, int]) -> Estimate:
        """Time in ms.

        Args:
            op: one of `OPS`.
            scheme: a float scheme.
            mode: one of `MODES`; `forward` alone for `FORWARD_ALONE`.
            sizes: `b` tokens and `h` hidden features of each (for `cross_entropy` the classes);
                `rope` has `num_q_heads` and `num_kv_heads` too, the gated MLPs `intermediate_size`.
        """
        c = self._constants
        width, tokens, h = FLOAT_BYTES[scheme], sizes["b"], sizes["h"]
        measured = self._target.device.name == "a100" and op in ("rope", "swiglu", "cross_entropy")
        if op == "cross_entropy":
            time = self._cross_entropy(tokens, h, width, mode)
        elif op == "rope":
            time = self._rope(tokens, sizes, width, mode)
        elif op in FORWARD_ALONE:
            time = self._gated(tokens, h, sizes["intermediate_size"], scheme)
        else:
            # Forward reads and writes a tensor; backward reads two and writes one.
            tensors = {"forward": 2, "backward": 3, "full": 5}[mode]
            launches = 2 if mode == "full" else 1
            time = launches * c.event_us + self._stream(tensors * tokens * h * width)
        time = max(time, c.host_us.get(mode, 0.0)) * 1e-3
        low, high = c.range if measured else c.unmeasured
        return Estimate(value=time, low=time * low, high=time * high)

    def _stream(self, moved: float) -> float:
        device, efficiency = self._target.device, self._target.model.row_efficiency
        return moved / (device.dram_gbps * 1e3 * efficiency)

    def _rope(self, tokens: int, sizes: Mapping[str, int], width: int, mode: str) -> float:
        """Queries and keys are turned in place; the angles' sines and cosines are read."""
        head = sizes["h"] // sizes["num_q_heads"]
        heads = sizes["num_q_heads"] + sizes["num_kv_heads"]
        once = self._constants.event_us + self._stream(2 * tokens * head * width * (heads + 1))
        return 2 * once if mode == "full" else once

    def _gated(self, tokens: int, h: int, inner: int, scheme: str) -> float:
        shapes = ((tokens, inner, h), (tokens, inner, h), (tokens, h, inner))
        products = [Kernel(op="gemm", scheme=scheme, m=m, n=n, k=k) for m, n, k in shapes]
        busy = sum(price.value for price in self._target.alone_all(products)) * 1e3
        gate = self._stream(3 * tokens * inner * FLOAT_BYTES[scheme])
        return self._constants.event_us + busy + gate

    def _cross_entropy(self, rows: int, classes: int, width: int, mode: str) -> float:
        """The forward pass reads each row twice and writes its gradient over it.

        The second reading finds in L2 what the rows in flight, two an SM, leave of it. The
        backward pass multiplies the gradient by the loss's: one reading, one writing.
        """
        c, device = self._constants, self._target.device
        programs = 2 * device.sms
        kept = c.l2_share * device.l2_mib * 2**20 / (programs * classes * width)
        readings = 2.0 - min(kept, 1.0)
        waves = math.ceil(rows / programs)
        forward = waves * c.row_us + self._stream(rows * classes * width * (readings + 1.0))
        backward = self._stream(2 * rows * classes * width)
        passes = {"forward": forward, "backward": backward, "full": forward + backward}
        return c.event_us + passes[mode]
