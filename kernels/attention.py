"""Attention: the plain torch version, which is its meaning, and the choice of backend.

Dimension letters: B batch, H heads, N queries, M keys, E features of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.attention_blocks import MOST_FEATURES
from kernels.backend import (
    BACKENDS,
    check_name,
    chosen,
    describe,
    refusal,
    without_autocast,
)

_SERVED = (
    "the Triton kernels serve non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1), heads of at most "
    f"{MOST_FEATURES} features, fewer than 2^31 scores and elements a head"
)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Compute softmax(Q Kᵀ · scale + bias) V in each head, without storing the scores.

    Vaswani et al. (arXiv 1706.03762), equation 1. The soft-max is float32. For attention in
    windows (Swin, arXiv 2103.14030) the windows are entries of the batch and the bias holds the
    relative positions and the mask. Differentiable once in all tensors; the gradients are the same
    on every run. A query whose scores are all -inf gives zeros, as in torch. A NaN in a key or a
    value that `causal` hides may reach the output, as in torch.

    Args:
        q: Queries, `[B, H, N, E]`, any strides; values of a row side by side save a copy.
        k: Keys, `[B, H, M, E]`, dtype and device of `q`.
        v: Values, `[B, H, M, E]`, likewise.
        bias: Added to the scores, `[B', H or 1, N, M]`, dtype and device of `q`; entry b of the
            batch takes entry b mod B', and B' divides B. -inf hides. None adds nothing.
        causal: Query i sees keys 0 to i only.
        scale: Factor of the scores; None is 1 / √E.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        `[B, H, N, E]` in the dtype of `q`; from Triton the memory is `[B, N, H, E]`, so that
        joining the heads is free.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernels do not serve these tensors.
    """
    _check(q, k, v, bias, backend)
    scale = q.shape[3] ** -0.5 if scale is None else scale
    module = chosen(
        backend,
        "kernels.attention_launch_triton",
        lambda found: refusal(q, found) or _refusal(q, k, v, bias),
        _SERVED,
        {"q": q, "k": k},
    )
    if module is not None:
        y: Tensor = module.attention_triton(q, k, v, bias, causal=causal, scale=scale)
        return y
    return attention_plain(q, k, v, bias, causal=causal, scale=scale)


def attention_plain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Say in plain torch what `attention` means; the arguments are its own, unchecked."""
    wide = torch.promote_types(q.dtype, torch.float32)
    with without_autocast(q.device.type):
        scale = q.shape[3] ** -0.5 if scale is None else scale
        scores = torch.matmul(q.to(wide), k.to(wide).transpose(2, 3)) * scale
        if bias is not None:
            scores = scores + bias.to(wide).repeat(q.shape[0] // bias.shape[0], 1, 1, 1)
        if causal:
            hidden = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(hidden, -torch.inf)
        # Without this, a row of nothing but -inf would be NaN, and so would its gradients.
        blind = (scores == -torch.inf).all(-1, keepdim=True)
        weights = scores.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0)
        return torch.matmul(weights, v.to(wide)).to(q.dtype)


def _refusal(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> str | None:
    """Say why the kernels cannot take these tensors for their sizes; None if they can."""
    if q.shape[3] > MOST_FEATURES:
        return f"{q.shape[3]} features"
    if k.shape[2] == 0:
        return "no keys"
    # Offsets inside one head are 32-bit, those between heads 64-bit. Blocks may overhang by 128.
    row = max(max(tensor.stride(2) for tensor in (q, k, v)), q.shape[1] * q.shape[3])
    longest = max(q.shape[2], k.shape[2]) + 128
    if longest * row >= 2**31:
        return "a head of 2^31 or more elements"
    if bias is not None and (q.shape[2] + 128) * (max(k.shape[2], bias.stride(2)) + 128) >= 2**31:
        return "2^31 or more scores"
    return None


def _check(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, backend: str) -> None:
    """Raise ValueError unless the arguments are as `attention` describes them."""
    check_name("backend", backend, BACKENDS)
    if q.dim() != 4 or not q.is_floating_point() or q.shape[3] == 0:
        raise ValueError(
            "q must be a floating-point [batch, heads, queries, features] with at least one "
            f"feature; got {describe(q)}"
        )
    batch, heads, queries, features = q.shape
    if k.dim() != 4 or (*k.shape[:2], k.shape[3]) != (batch, heads, features):
        raise ValueError(
            f"k must be [{batch}, {heads}, keys, {features}], as q is {list(q.shape)}; got "
            f"{list(k.shape)}. Heads that share keys must be folded into the queries."
        )
    if v.shape != k.shape:
        raise ValueError(f"v must have the shape of k, {list(k.shape)}; got {list(v.shape)}")
    if bias is not None and (
        bias.dim() != 4
        or bias.shape[0] == 0
        or batch % bias.shape[0]
        or bias.shape[1] not in (1, heads)
        or bias.shape[2:] != (queries, k.shape[2])
    ):
        raise ValueError(
            f"bias must be [entries, {heads} or 1, {queries}, {k.shape[2]}] with a number of "
            f"entries that divides the batch of {batch}; got {list(bias.shape)}"
        )
    for name, other in (("k", k), ("v", v), ("bias", bias)):
        if other is not None and (other.dtype, other.device) != (q.dtype, q.device):
            raise ValueError(
                f"{name} must have the dtype and device of q; got {name} {describe(other)} and q "
                f"{describe(q)}. Move or cast one of them with .to()."
            )
