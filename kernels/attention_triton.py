"""Triton kernel of attention with the soft-max online, and what its gradients share with it.

Dao et al. (arXiv 2205.14135), algorithm 1, in the loop order of Dao (arXiv 2307.08691), algorithm
1: a program holds a block of queries. Scores are in units of log 2.
"""

from __future__ import annotations

import triton
import triton.language as tl

_LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit  # type: ignore[untyped-decorator]
def product(a: tl.tensor, b: tl.tensor, UPCAST: tl.constexpr) -> tl.tensor:
    """Multiply two blocks with float32 sums."""
    if UPCAST:
        # The interpreter's product of bfloat16 is wrong.
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit  # type: ignore[untyped-decorator]
def rows(
    ptr: tl.tensor,  # [rows, FEATURES]
    row: tl.tensor,
    rows: tl.tensor,
    row_stride: tl.tensor,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
) -> tl.tensor:
    """Load rows of a head as `[rows, WIDTH]`, zeros past their ends."""
    feature = tl.arange(0, WIDTH)
    mask = (row < rows)[:, None] & (feature < FEATURES)[None, :]
    return tl.load(ptr + (row * row_stride)[:, None] + feature[None, :], mask=mask, other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def scores_of(
    products: tl.tensor,  # [QUERIES, KEYS]: of queries and keys
    bias_ptr: tl.tensor,  # [queries, keys]; not read unless HAS_BIAS
    query: tl.tensor,  # [QUERIES, 1]
    key: tl.tensor,  # [1, KEYS]
    queries: tl.tensor,
    keys: tl.tensor,
    bias_row_stride: tl.tensor,
    scale: tl.tensor,
    CAUSAL: tl.constexpr,
    HAS_BIAS: tl.constexpr,
) -> tl.tensor:
    """Scale, add the bias and hide what must not be seen; any order of the two dimensions."""
    scores = products * (scale * _LOG2E)
    seen = (query < queries) & (key < keys)
    if HAS_BIAS:
        bias = tl.load(bias_ptr + query * bias_row_stride + key, mask=seen, other=0.0)
        scores += bias.to(tl.float32) * _LOG2E
    if CAUSAL:
        seen = seen & (key <= query)
    return tl.where(seen, scores, float("-inf"))


@triton.jit  # type: ignore[untyped-decorator]
def attention_forward_kernel(
    q_ptr: tl.tensor,  # [batch, heads, queries, FEATURES], by its strides
    k_ptr: tl.tensor,  # [batch, heads, keys, FEATURES]
    v_ptr: tl.tensor,  # [batch, heads, keys, FEATURES]
    bias_ptr: tl.tensor,  # [bias_batch, heads, queries, keys]; not read unless HAS_BIAS
    y_ptr: tl.tensor,  # [batch, queries, heads, FEATURES]
    norm_ptr: tl.tensor,  # [batch, heads, queries], float32: log2 of the soft-max's sum
    q_batch_stride: tl.tensor,
    q_head_stride: tl.tensor,
    q_row_stride: tl.tensor,
    k_batch_stride: tl.tensor,
    k_head_stride: tl.tensor,
    k_row_stride: tl.tensor,
    v_batch_stride: tl.tensor,
    v_head_stride: tl.tensor,
    v_row_stride: tl.tensor,
    bias_batch_stride: tl.tensor,
    bias_head_stride: tl.tensor,
    bias_row_stride: tl.tensor,
    bias_batch: tl.tensor,
    heads: tl.tensor,
    queries: tl.tensor,
    keys: tl.tensor,
    scale: tl.tensor,  # float32
    FEATURES: tl.constexpr,
    CAUSAL: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    UPCAST: tl.constexpr,
    SAVE: tl.constexpr,  # whether norm is written
    WIDTH: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
) -> None:
    """Write QUERIES rows of one head."""
    query_blocks = tl.cdiv(queries, QUERIES)
    program = tl.program_id(0)
    query = program % query_blocks * QUERIES + tl.arange(0, QUERIES)
    head = (program // query_blocks % heads).to(tl.int64)
    image = (program // query_blocks // heads).to(tl.int64)
    q_ptr += image * q_batch_stride + head * q_head_stride
    k_ptr += image * k_batch_stride + head * k_head_stride
    v_ptr += image * v_batch_stride + head * v_head_stride
    bias_ptr += image % bias_batch * bias_batch_stride + head * bias_head_stride
    y_ptr += (image * queries * heads + head) * FEATURES

    q = rows(q_ptr, query, queries, q_row_stride, FEATURES, WIDTH)
    largest = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    mixed = tl.zeros((QUERIES, WIDTH), tl.float32)
    last = keys
    if CAUSAL:
        last = tl.minimum(keys, program % query_blocks * QUERIES + QUERIES)
    for first in range(0, last, KEYS):
        key = first + tl.arange(0, KEYS)
        k = rows(k_ptr, key, keys, k_row_stride, FEATURES, WIDTH)
        v = rows(v_ptr, key, keys, v_row_stride, FEATURES, WIDTH)
        scores = scores_of(
            product(q, tl.trans(k), UPCAST),
            bias_ptr,
            query[:, None],
            key[None, :],
            queries,
            keys,
            bias_row_stride,
            scale,
            CAUSAL,
            HAS_BIAS,
        )
        larger = tl.maximum(largest, tl.max(scores, axis=1))
        # Where nothing has been seen yet, infinities would cancel to NaN.
        shift = tl.where(larger == float("-inf"), 0.0, larger)
        weights = tl.exp2(scores - shift[:, None])
        shrink = tl.exp2(largest - shift)
        total = total * shrink + tl.sum(weights, axis=1)
        mixed = mixed * shrink[:, None] + product(weights.to(v.dtype), v, UPCAST)
        largest = larger

    # A query that sees nothing gives zeros, as in torch.
    empty = total == 0
    y = mixed / tl.where(empty, 1.0, total)[:, None]
    feature = tl.arange(0, WIDTH)
    y_offset = (query * (heads * FEATURES))[:, None] + feature[None, :]
    y_mask = (query < queries)[:, None] & (feature < FEATURES)[None, :]
    tl.store(y_ptr + y_offset, y.to(y_ptr.dtype.element_ty), mask=y_mask)
    if SAVE:
        norm = tl.where(empty, 0.0, largest + tl.log2(tl.where(empty, 1.0, total)))
        norm_ptr += (image * heads + head) * queries
        tl.store(norm_ptr + query, norm, mask=query < queries)
