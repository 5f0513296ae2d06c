"""What this machine's CPU has oneDNN serve."""

from __future__ import annotations

from functools import cache

import torch


@cache
def served(scheme: str) -> bool:
    """Whether oneDNN convolves and multiplies in a scheme here: 16 bits need AVX-512 or newer.

    Args:
        scheme: `fp32`, `bf16` or `fp16`.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if scheme == "bf16":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if scheme == "fp16":
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return True
