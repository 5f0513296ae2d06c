"""Gradients in plain torch for operations whose forward pass alone is a Triton kernel.

The backward pass runs the plain version again on the saved inputs and differentiates that: nothing
but the inputs is kept, and the gradients are those of the meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def with_plain_gradients(
    fast: Callable[..., Tensor], plain: Callable[..., Tensor], *tensors: Tensor | None
) -> Tensor:
    """Return `fast(*tensors)`, differentiable once through `plain(*tensors)`.

    Args:
        fast: Computes the result; not differentiated.
        plain: Its meaning in differentiable torch operations.
        tensors: The arguments of both.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        apply: Callable[..., Tensor] = _Recompute.apply
        return apply(fast, plain, *tensors)
    return fast(*tensors)


class _Recompute(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        fast: Callable[..., Tensor],
        plain: Callable[..., Tensor],
        *tensors: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.plain = plain
        return fast(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[2:]
        leaves = [
            None if tensor is None else tensor.detach().requires_grad_(need)
            for tensor, need in zip(ctx.saved_tensors, needed, strict=True)
        ]
        with torch.enable_grad():
            y = ctx.plain(*leaves)
        wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
        found = iter(torch.autograd.grad(y, wanted, grad))
        return (None, None, *(next(found) if need else None for need in needed))
