"""Launches and autograd of the attention kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.activation_triton import INTERPRETED, capability
from kernels.attention_backward_triton import (
    attention_bias_grad_kernel,
    attention_key_grad_kernel,
    attention_query_grad_kernel,
)
from kernels.attention_blocks import (
    BIAS_SPLITS,
    Blocks,
    Constants,
    attention_constants,
    blocks_for,
)
from kernels.attention_triton import attention_forward_kernel
from kernels.launch_triton import launch


def attention_triton(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, *, causal: bool, scale: float
) -> Tensor:
    """Run `attention` on the Triton kernels; the arguments are its own, checked."""
    inputs = [tensor for tensor in (q, k, v, bias) if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        apply: Callable[..., Tensor] = _Attention.apply
        return apply(q, k, v, bias, causal, scale)
    q, k, v = (_with_rows(tensor) for tensor in (q, k, v))
    bias = None if bias is None else _with_rows(bias)
    return _forward(q, k, v, bias, causal, scale, save=False)[0]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        causal: bool,
        scale: float,
    ) -> Tensor:
        q, k, v = (_with_rows(tensor) for tensor in (q, k, v))
        bias = None if bias is None else _with_rows(bias)
        y, norm = _forward(q, k, v, bias, causal, scale, save=True)
        ctx.save_for_backward(q, k, v, bias, y, norm)
        ctx.settings = (causal, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, y, norm = ctx.saved_tensors
        causal, scale = ctx.settings
        # The memory of the output: [batch, queries, heads, features].
        grad = grad.transpose(1, 2).contiguous()
        delta = torch.empty_like(norm)
        shared = (q, k, v, bias, causal, scale)
        q_grad = _query_grad(shared, y, grad, norm, delta)
        k_grad = v_grad = bias_grad = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            k_grad, v_grad = _key_grad(shared, grad, norm, delta)
        if ctx.needs_input_grad[3]:
            bias_grad = _bias_grad(shared, grad, norm, delta)
        return q_grad, k_grad, v_grad, bias_grad, None, None


_Shared = tuple[Tensor, Tensor, Tensor, Tensor | None, bool, float]


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    causal: bool,
    scale: float,
    *,
    save: bool,
) -> tuple[Tensor, Tensor]:
    """Return the output, `[batch, heads, queries, features]`, and the logarithms of the sums."""
    shared = (q, k, v, bias, causal, scale)
    batch, heads, queries, features = q.shape
    y = q.new_empty((batch, queries, heads, features))
    norm = q.new_empty((batch, heads, queries), dtype=torch.float32) if save else y
    blocks, constants = _plan("forward", shared)
    launch(
        attention_forward_kernel,
        batch * heads * triton.cdiv(queries, blocks.queries),
        (q, k, v, q if bias is None else bias, y, norm, *_sizes(shared), scale),
        constants | {"SAVE": save},
        warps=blocks.warps,
        stages=blocks.stages,
    )
    return y.transpose(1, 2), norm


def _query_grad(shared: _Shared, y: Tensor, grad: Tensor, norm: Tensor, delta: Tensor) -> Tensor:
    """Return the gradient of the queries, and fill `delta`, which the others need."""
    q, k, v, bias, _, scale = shared
    batch, heads, queries, _ = q.shape
    q_grad = torch.empty_like(grad)
    blocks, constants = _plan("queries", shared)
    launch(
        attention_query_grad_kernel,
        batch * heads * triton.cdiv(queries, blocks.queries),
        (
            *(q, k, v, q if bias is None else bias, y, grad, norm, delta, q_grad),
            *(*_sizes(shared), scale),
        ),
        constants,
        warps=blocks.warps,
        stages=blocks.stages,
    )
    return q_grad.transpose(1, 2)


def _key_grad(shared: _Shared, grad: Tensor, norm: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of keys and values."""
    q, k, v, bias, _, scale = shared
    batch, heads, keys, features = k.shape
    k_grad = k.new_empty((batch, keys, heads, features))
    v_grad = torch.empty_like(k_grad)
    blocks, constants = _plan("keys", shared)
    launch(
        attention_key_grad_kernel,
        batch * heads * triton.cdiv(keys, blocks.keys),
        (
            *(q, k, v, q if bias is None else bias, grad, norm, delta, k_grad, v_grad),
            *(*_sizes(shared), scale),
        ),
        constants,
        warps=blocks.warps,
        stages=blocks.stages,
    )
    return k_grad.transpose(1, 2), v_grad.transpose(1, 2)


def _bias_grad(shared: _Shared, grad: Tensor, norm: Tensor, delta: Tensor) -> Tensor:
    """Return the gradient of the bias."""
    q, k, v, bias, _, scale = shared
    assert bias is not None
    batch, heads, queries, _ = q.shape
    keys = k.shape[2]
    images = batch // bias.shape[0]
    per_split = triton.cdiv(images, BIAS_SPLITS)
    splits = triton.cdiv(images, per_split)
    shape = (splits, bias.shape[0], heads, queries, keys)
    partial = q.new_empty(shape, dtype=torch.float32)
    blocks, constants = _plan("bias", shared)
    tiles = triton.cdiv(queries, blocks.queries) * triton.cdiv(keys, blocks.keys)
    launch(
        attention_bias_grad_kernel,
        splits * bias.shape[0] * heads * tiles,
        (
            *(q, k, v, bias, grad, norm, delta, partial),
            *(*_sizes(shared), images, per_split, scale),
        ),
        constants,
        warps=blocks.warps,
        stages=blocks.stages,
    )
    total = partial.sum(0)
    if bias.shape[1] == 1:
        total = total.sum(1, keepdim=True)
    return total.to(bias.dtype)


def _plan(operation: str, shared: _Shared) -> tuple[Blocks, Constants]:
    q, k, _, bias, causal, _ = shared
    features = q.shape[3]
    blocks = blocks_for(
        operation,
        capability(q),
        half=q.dtype != torch.float32,
        features=features,
        biased=bias is not None,
        longest=max(q.shape[2], k.shape[2]),
    )
    return blocks, attention_constants(
        features=features,
        causal=causal,
        has_bias=bias is not None,
        upcast=INTERPRETED and q.dtype == torch.bfloat16,
        blocks=blocks,
    )


def _sizes(shared: _Shared) -> tuple[int, ...]:
    """Return strides and sizes as every kernel takes them."""
    q, k, v, bias, _, _ = shared
    strides = [stride for tensor in (q, k, v) for stride in tensor.stride()[:3]]
    if bias is None:
        strides += [0, 0, 0, 1]
    else:
        head_stride = bias.stride(1) if bias.shape[1] > 1 else 0
        strides += [bias.stride(0), head_stride, bias.stride(2), bias.shape[0]]
    return (*strides, q.shape[1], q.shape[2], k.shape[2])


def _with_rows(x: Tensor) -> Tensor:
    """Return `x` with neighbouring values in its last dimension, copied only if it must be."""
    return x if x.stride(-1) == 1 else x.contiguous()
