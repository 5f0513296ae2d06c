"""torch's multi-head attention in modules, so that its products and its attention can be replaced.

Dimension letters: B batch, H heads, N queries, M keys, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kernels.attention_blocks import MOST_FEATURES
from nas.rewrite.layer import maybe
from nas.rewrite.lifts import Attention


class MultiheadAttention(nn.Module):
    """`nn.MultiheadAttention` without dropout; gives no weights."""

    def __init__(self, attention: nn.MultiheadAttention, alike: bool) -> None:
        """Share the parameters of torch's module.

        Args:
            attention: torch's.
            alike: whether query, key and value are one tensor, which one product then projects.
        """
        super().__init__()
        self.heads, self.batch_first = attention.num_heads, attention.batch_first
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        if alike and weight is not None:
            self.projections = nn.ModuleList([_linear(weight, bias)])
        else:
            apart = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
            weights = apart if weight is None else weight.chunk(3)
            biases = (None,) * 3 if bias is None else bias.chunk(3)
            self.projections = nn.ModuleList(map(_linear, weights, biases))
        self.attention = Attention(causal=False, scale=None)
        self.project = _linear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """`[B, N, D]`, `[B, M, D]` twice, or with the batch second; a mask as torch's."""
        if len(self.projections) == 1:
            parts = self.projections[0](query).chunk(3, dim=-1)
        else:
            given = zip(self.projections, (query, key, value), strict=True)
            parts = tuple(projection(x) for projection, x in given)
        order = (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3)
        q, k, v = (part.unflatten(2, (self.heads, -1)).permute(order) for part in parts)
        if attn_mask is not None:
            if attn_mask.dtype == torch.bool:  # True hides, unlike in the attention itself.
                hidden = torch.zeros_like(attn_mask, dtype=q.dtype)
                attn_mask = hidden.masked_fill(attn_mask, -torch.inf)
            if attn_mask.dim() == 3:
                attn_mask = attn_mask.reshape(-1, self.heads, *attn_mask.shape[1:])
        y = self.attention(q, k, v, attn_mask)
        back = (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3)
        return self.project(y.permute(back).flatten(2)), None


def refusal(attention: nn.MultiheadAttention, given: Mapping[str, Any], leaves: int) -> str | None:
    """Why an attention stays torch's; None if it need not.

    Args:
        attention: torch's.
        given: the arguments of a call by name.
        leaves: how many of the tensors that it makes are read elsewhere.
    """
    if given["query"].dim() != 3:
        return "multi-head attention without a batch"
    if given.get("key_padding_mask") is not None:
        return "multi-head attention with a mask for padding"
    if leaves > 1:
        return "multi-head attention whose weights are read"
    if attention.bias_k is not None or attention.add_zero_attn:
        return "multi-head attention with keys of its own"
    if attention.head_dim > MOST_FEATURES:
        return f"heads of more than {MOST_FEATURES} features"
    return None


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.register_parameter("weight", maybe(weight))
    layer.register_parameter("bias", maybe(bias))
    return layer.eval()
