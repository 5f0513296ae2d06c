"""Triton kernels of attention's gradients.

Dao et al. (arXiv 2205.14135), algorithm 4, split in the loop order of Dao (arXiv 2307.08691): a
program holds a block of queries, or a block of keys, or a block of scores for the bias, so there
are no atomics. The scores are computed anew from the forward pass's logarithms of sums.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.attention_triton import product, rows, scores_of


@triton.jit  # type: ignore[untyped-decorator]
def attention_query_grad_kernel(
    q_ptr: tl.tensor,  # [batch, heads, queries, FEATURES], by its strides
    k_ptr: tl.tensor,  # [batch, heads, keys, FEATURES]
    v_ptr: tl.tensor,  # [batch, heads, keys, FEATURES]
    bias_ptr: tl.tensor,  # [bias_batch, heads, queries, keys]; not read unless HAS_BIAS
    y_ptr: tl.tensor,  # [batch, queries, heads, FEATURES]
    grad_ptr: tl.tensor,  # [batch, queries, heads, FEATURES]: of y
    norm_ptr: tl.tensor,  # [batch, heads, queries], float32
    delta_ptr: tl.tensor,  # [batch, heads, queries], float32; written: sums of grad * y
    q_grad_ptr: tl.tensor,  # [batch, queries, heads, FEATURES]
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
    WIDTH: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
) -> None:
    """Write the gradient of QUERIES queries of one head, and their deltas."""
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
    grad_ptr += (image * queries * heads + head) * FEATURES
    q_grad_ptr += (image * queries * heads + head) * FEATURES
    row = (image * heads + head) * queries + query
    row_stride = heads * FEATURES

    q = rows(q_ptr, query, queries, q_row_stride, FEATURES, WIDTH)
    grad = rows(grad_ptr, query, queries, row_stride, FEATURES, WIDTH)
    y = rows(y_ptr, query, queries, row_stride, FEATURES, WIDTH)
    norm = tl.load(norm_ptr + row, mask=query < queries, other=float("inf"))
    delta = tl.sum(grad.to(tl.float32) * y.to(tl.float32), axis=1)
    tl.store(delta_ptr + row, delta, mask=query < queries)
    q_grad = tl.zeros((QUERIES, WIDTH), tl.float32)
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
        weights = tl.exp2(scores - norm[:, None])
        score_grad = weights * (product(grad, tl.trans(v), UPCAST) - delta[:, None])
        q_grad += product(score_grad.to(k.dtype), k, UPCAST)

    feature = tl.arange(0, WIDTH)
    offset = (query * row_stride)[:, None] + feature[None, :]
    mask = (query < queries)[:, None] & (feature < FEATURES)[None, :]
    tl.store(q_grad_ptr + offset, (q_grad * scale).to(q_grad_ptr.dtype.element_ty), mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def attention_key_grad_kernel(
    q_ptr: tl.tensor,  # [batch, heads, queries, FEATURES], by its strides
    k_ptr: tl.tensor,  # [batch, heads, keys, FEATURES]
    v_ptr: tl.tensor,  # [batch, heads, keys, FEATURES]
    bias_ptr: tl.tensor,  # [bias_batch, heads, queries, keys]; not read unless HAS_BIAS
    grad_ptr: tl.tensor,  # [batch, queries, heads, FEATURES]: of the output
    norm_ptr: tl.tensor,  # [batch, heads, queries], float32
    delta_ptr: tl.tensor,  # [batch, heads, queries], float32
    k_grad_ptr: tl.tensor,  # [batch, keys, heads, FEATURES]
    v_grad_ptr: tl.tensor,  # [batch, keys, heads, FEATURES]
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
    WIDTH: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
) -> None:
    """Write the gradients of KEYS keys and values of one head."""
    key_blocks = tl.cdiv(keys, KEYS)
    program = tl.program_id(0)
    key = program % key_blocks * KEYS + tl.arange(0, KEYS)
    head = (program // key_blocks % heads).to(tl.int64)
    image = (program // key_blocks // heads).to(tl.int64)
    q_ptr += image * q_batch_stride + head * q_head_stride
    k_ptr += image * k_batch_stride + head * k_head_stride
    v_ptr += image * v_batch_stride + head * v_head_stride
    bias_ptr += image % bias_batch * bias_batch_stride + head * bias_head_stride
    grad_ptr += (image * queries * heads + head) * FEATURES
    norm_ptr += (image * heads + head) * queries
    delta_ptr += (image * heads + head) * queries
    k_grad_ptr += (image * keys * heads + head) * FEATURES
    v_grad_ptr += (image * keys * heads + head) * FEATURES
    row_stride = heads * FEATURES

    k = rows(k_ptr, key, keys, k_row_stride, FEATURES, WIDTH)
    v = rows(v_ptr, key, keys, v_row_stride, FEATURES, WIDTH)
    k_grad = tl.zeros((KEYS, WIDTH), tl.float32)
    v_grad = tl.zeros((KEYS, WIDTH), tl.float32)
    start = 0
    if CAUSAL:
        # Queries before the first key see none of these.
        start = program % key_blocks * KEYS // QUERIES * QUERIES
    for first in range(start, queries, QUERIES):
        query = first + tl.arange(0, QUERIES)
        q = rows(q_ptr, query, queries, q_row_stride, FEATURES, WIDTH)
        grad = rows(grad_ptr, query, queries, row_stride, FEATURES, WIDTH)
        norm = tl.load(norm_ptr + query, mask=query < queries, other=float("inf"))
        delta = tl.load(delta_ptr + query, mask=query < queries, other=0.0)
        # Transposed, so that no product has to turn its first operand round.
        scores = scores_of(
            product(k, tl.trans(q), UPCAST),
            bias_ptr,
            query[None, :],
            key[:, None],
            queries,
            keys,
            bias_row_stride,
            scale,
            CAUSAL,
            HAS_BIAS,
        )
        weights = tl.exp2(scores - norm[None, :])
        v_grad += product(weights.to(grad.dtype), grad, UPCAST)
        score_grad = weights * (product(v, tl.trans(grad), UPCAST) - delta[None, :])
        k_grad += product(score_grad.to(q.dtype), q, UPCAST)

    feature = tl.arange(0, WIDTH)
    offset = (key * row_stride)[:, None] + feature[None, :]
    mask = (key < keys)[:, None] & (feature < FEATURES)[None, :]
    tl.store(k_grad_ptr + offset, (k_grad * scale).to(k_grad_ptr.dtype.element_ty), mask=mask)
    tl.store(v_grad_ptr + offset, v_grad.to(v_grad_ptr.dtype.element_ty), mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def attention_bias_grad_kernel(
    q_ptr: tl.tensor,  # [batch, heads, queries, FEATURES], by its strides
    k_ptr: tl.tensor,  # [batch, heads, keys, FEATURES]
    v_ptr: tl.tensor,  # [batch, heads, keys, FEATURES]
    bias_ptr: tl.tensor,  # [bias_batch, heads, queries, keys]
    grad_ptr: tl.tensor,  # [batch, queries, heads, FEATURES]: of the output
    norm_ptr: tl.tensor,  # [batch, heads, queries], float32
    delta_ptr: tl.tensor,  # [batch, heads, queries], float32
    partial_ptr: tl.tensor,  # [splits, bias_batch, heads, queries, keys], float32
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
    images: tl.tensor,  # that share an entry of the bias: batch / bias_batch
    images_per_split: tl.tensor,
    scale: tl.tensor,  # float32
    FEATURES: tl.constexpr,
    CAUSAL: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    UPCAST: tl.constexpr,
    WIDTH: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
) -> None:
    """Sum QUERIES x KEYS gradients of the scores of one head over one split of the batch."""
    query_blocks = tl.cdiv(queries, QUERIES)
    key_blocks = tl.cdiv(keys, KEYS)
    program = tl.program_id(0)
    key = program % key_blocks * KEYS + tl.arange(0, KEYS)
    query = program // key_blocks % query_blocks * QUERIES + tl.arange(0, QUERIES)
    rest = program // key_blocks // query_blocks
    head = (rest % heads).to(tl.int64)
    entry = (rest // heads % bias_batch).to(tl.int64)
    split = rest // heads // bias_batch
    q_ptr += head * q_head_stride
    k_ptr += head * k_head_stride
    v_ptr += head * v_head_stride
    bias_ptr += entry * bias_batch_stride + head * bias_head_stride
    partial_ptr += rest.to(tl.int64) * queries * keys
    row_stride = heads * FEATURES

    bias_grad = tl.zeros((QUERIES, KEYS), tl.float32)
    first = split * images_per_split
    for place in range(first, tl.minimum(first + images_per_split, images)):
        image = place * bias_batch + entry
        q = rows(q_ptr + image * q_batch_stride, query, queries, q_row_stride, FEATURES, WIDTH)
        k = rows(k_ptr + image * k_batch_stride, key, keys, k_row_stride, FEATURES, WIDTH)
        v = rows(v_ptr + image * v_batch_stride, key, keys, v_row_stride, FEATURES, WIDTH)
        y_base = (image * queries * heads + head) * FEATURES
        grad = rows(grad_ptr + y_base, query, queries, row_stride, FEATURES, WIDTH)
        row = (image * heads + head) * queries + query
        norm = tl.load(norm_ptr + row, mask=query < queries, other=float("inf"))
        delta = tl.load(delta_ptr + row, mask=query < queries, other=0.0)
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
        weights = tl.exp2(scores - norm[:, None])
        bias_grad += weights * (product(grad, tl.trans(v), UPCAST) - delta[:, None])

    offset = (query * keys)[:, None] + key[None, :]
    mask = (query < queries)[:, None] & (key < keys)[None, :]
    tl.store(partial_ptr + offset, bias_grad, mask=mask)
