"""What would be compiled for an attention of a given shape, for `kernels.aot`."""

from __future__ import annotations

from typing import Any

import torch

from kernels.aot import KernelSource, specialise
from kernels.attention_backward_triton import (
    attention_bias_grad_kernel,
    attention_key_grad_kernel,
    attention_query_grad_kernel,
)
from kernels.attention_blocks import (
    BIAS_SPLITS,
    MOST_FEATURES,
    Constants,
    attention_constants,
    blocks_for,
)
from kernels.attention_triton import attention_forward_kernel

_FLOAT32 = dict.fromkeys(("norm_ptr", "delta_ptr", "partial_ptr"), torch.float32)


def sources(
    *,
    capability: tuple[int, int],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    causal: bool = False,
    bias: bool = False,
) -> dict[str, KernelSource]:
    """Say what would be compiled for a shape with as many keys as queries, for `kernels.aot`.

    Args:
        capability: Compute capability of the GPU, which picks the blocks; (8, 0) for sm_80.
        dtype: float32, float16 or bfloat16, of all tensors.
        shape: `[B, H, N, E]`: batch, heads, queries, features of a head.
        causal: Whether queries see earlier keys only.
        bias: Whether a bias is added, which all of the batch shares.

    Returns:
        The sources of `forward`, which saves nothing, `query_grad`, `key_grad`, and of `bias_grad`
        if there is a bias.
    """
    batch, heads, queries, features = shape
    if not 1 <= features <= MOST_FEATURES:
        raise ValueError(f"shape must end in 1 to {MOST_FEATURES} features; got {shape}")
    # Rows of 16 values align whatever comes in rows; the bias's rows are as long as the keys.
    sides = ("batch_stride", "head_stride", "row_stride")
    multiples = [f"{name}_{side}" for name in "qkv" for side in sides] if features % 16 == 0 else []
    if queries % 16 == 0:
        multiples += [f"bias_{side}" for side in sides] + ["queries", "keys"]

    def source(function: Any, operation: str, more: Constants) -> KernelSource:
        blocks = blocks_for(
            operation,
            capability,
            half=dtype != torch.float32,
            features=features,
            biased=bias,
            longest=queries,
        )
        constants = attention_constants(
            features=features, causal=causal, has_bias=bias, upcast=False, blocks=blocks
        )
        query_tiles, key_tiles = -(-queries // blocks.queries), -(-queries // blocks.keys)
        tiles = {
            "forward": batch * query_tiles,
            "queries": batch * query_tiles,
            "keys": batch * key_tiles,
            "bias": min(batch, BIAS_SPLITS) * query_tiles * key_tiles,
        }
        return specialise(
            function,
            constants=constants | more,
            dtype=dtype,
            pointers=_FLOAT32,
            multiples_of_16=multiples,
            warps=blocks.warps,
            stages=blocks.stages,
            programs=heads * tiles[operation],
            floats=("scale",),
        )

    found = {
        "forward": source(attention_forward_kernel, "forward", {"SAVE": False}),
        "query_grad": source(attention_query_grad_kernel, "queries", {}),
        "key_grad": source(attention_key_grad_kernel, "keys", {}),
    }
    if bias:
        found["bias_grad"] = source(attention_bias_grad_kernel, "bias", {})
    return found
