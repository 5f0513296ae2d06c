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
    if ACTIVATION == "relu6":
        value = _clipped(value)
    if ACTIVATION == "hardswish":
        value = value * _clipped(value + 3.0) * (1.0 / 6.0)
    if ACTIVATION == "sigmoid":
        value = 1.0 / (1.0 + tl.exp(-value))
    if ACTIVATION == "hardsigmoid":
        value = _clipped(value + 3.0) * (1.0 / 6.0)
    return value


@triton.jit  # type: ignore[untyped-decorator]
def _clipped(value: tl.tensor) -> tl.tensor:
    """Bring values to 0 to 6; a NaN stays one."""
    value = tl.where(value < 0, 0.0, value)
    return tl.where(value > 6, 6.0, value)


ACTIVATION_GRADS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda grad, y: torch.ops.aten.threshold_backward(grad, y, 0),
    "gelu": lambda grad, pre: torch.ops.aten.gelu_backward(grad, pre),
    "silu": lambda grad, pre: torch.ops.aten.silu_backward(grad, pre),
    "relu6": lambda grad, y: torch.ops.aten.hardtanh_backward(grad, y, 0, 6),
    "hardswish": lambda grad, pre: torch.ops.aten.hardswish_backward(grad, pre),
    "sigmoid": lambda grad, pre: torch.ops.aten.sigmoid_backward(grad, pre.sigmoid()),
    "hardsigmoid": lambda grad, pre: torch.ops.aten.hardsigmoid_backward(grad, pre),
}
"""In torch, from the gradient of the output and the values before the activation (for `relu` and
`relu6` the output will do: it is clipped at the same places) to the gradient of those values."""


def keeps_sums(activation: str, residual: bool) -> bool:
    """Whether gradients need the values before the activation beside the output, to which a
    residual may have been added."""
    return activation != "none" and (residual or activation not in ("relu", "relu6"))


def capability(x: Tensor) -> tuple[int, int]:
    """Compute capability that the table of blocks is asked with; (0, 0) in the interpreter."""
    return (0, 0) if INTERPRETED else torch.cuda.get_device_capability(x.device)
