"""What the host needs to send launches off, while the device works on earlier ones.

A network's time is that of the slower of the two: the sum of its host times or the sum of its
kernels'. Small batches in eager mode are the host's: Python, the dispatcher and the launch take as
long for an operation on one image as for one on many.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwprofile.estimate import Estimate
from hwprofile.kernel import Kernel

_WEIGHTED = ("gemm", "conv2d", "depthwise_conv2d")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostModel:
    """Times of one runtime's host; constants are in `constants.toml`, with their sources."""

    dispatch_us: float
    """One operation, from Python to the launch."""
    autocast_us: float
    """What autocast adds to an operation whose weights it casts to 16 bits."""
    range: tuple[float, float]
    """Ends of the 90 % range over the value: hosts differ."""

    def estimate(self, kernel: Kernel) -> Estimate:
        """Time in ms to send one launch off, with its range."""
        time = self.dispatch_us
        if kernel.op in _WEIGHTED and kernel.weight_bytes and kernel.scheme in ("fp16", "bf16"):
            time += self.autocast_us
        low, high = self.range
        time *= 1e-3
        return Estimate(value=time, low=time * low, high=time * high)
