"""The activations of `kernels.backend.ACTIVATIONS` inside a Triton kernel, and their gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED: bool = bool(triton.knobs.runtime.interpret)
"""Whether the kernels of this process run in Triton's interpreter, on the CPU."""


@triton.jit  # type: ignore[untyped-decorator]
def activate(value: tl.tensor, ACTIVATION: tl.constexpr) -> tl.tensor:
    """Apply an activation to float32 values of any shape."""
    if ACTIVATION == "relu":
        # A comparison, not a maximum: a NaN must stay a NaN.
        value = tl.where(value < 0, 0.0, value)
    if ACTIVATION == "gelu":
        value = 0.5 * value * (1.0 + tl.erf(value * 0.7071067811865476))
    if ACTIVATION == "silu":
        value = value / (1.0 + tl.exp(-value))
    return value


ACTIVATION_GRADS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda grad, y: torch.ops.aten.threshold_backward(grad, y, 0),
    "gelu": lambda grad, pre: torch.ops.aten.gelu_backward(grad, pre),
    "silu": lambda grad, pre: torch.ops.aten.silu_backward(grad, pre),
}
"""In torch, from the gradient of the output and the values before the activation (for relu the
output will do: it has the same sign) to the gradient of those values."""


def capability(x: Tensor) -> tuple[int, int]:
    """Compute capability that the table of blocks is asked with; (0, 0) in the interpreter."""
    return (0, 0) if INTERPRETED else torch.cuda.get_device_capability(x.device)
