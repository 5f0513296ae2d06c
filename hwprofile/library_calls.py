"""Operations as TorchInductor calls them on a CPU with frozen weights: packed, channels-last.

Convolutions and linear layers have their weights reordered once, for oneDNN and MKL, where torch
finds that the processor runs them so; elsewhere inductor calls torch's own operations, and so does
this. What inductor generates itself is no call of a library and not made here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hwprofile.meta_shapes import spread
from hwprofile.replay import OneCall, Operand, Replay, replay_of, with_tensors

_SAME = frozenset({"matmul", "bmm", "scaled_dot_product_attention"})
"""Operations that inductor calls as eager torch does."""
_PACKED = frozenset({"conv2d", "linear"})


def library_call(call: OneCall) -> OneCall | None:
    """A call as inductor makes it, of images channels-last; None for what it generates itself."""
    name = call.name.split(".")[1]
    if name not in _SAME | _PACKED or call.name.split(".")[2] != "default":
        return None
    if name == "linear" and len(call.args) > 2:
        call = replace(call, args=call.args[:2])  # the bias is added by what is generated
    return call.mapped(_channels_last) if name == "conv2d" else call


def library_replay(call: OneCall, dtype: torch.dtype, seed: int = 0) -> Replay:
    """A call of `library_call` with tensors of its own.

    Args:
        call: what to run.
        dtype: of its tensors.
        seed: of their values.
    """
    name = call.name.split(".")[1]
    pack = {"conv2d": _convolution, "linear": _linear}.get(name)
    if pack is None or not _packs(name, dtype):
        return replay_of(call, dtype, seed)
    return with_tensors(call, dtype, seed, pack)


def _packs(name: str, dtype: torch.dtype) -> bool:
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    library = torch.backends.mkl if name == "linear" else torch.backends.mkldnn
    return bool(library.is_available())


def _convolution(args: tuple[Any, ...]) -> Callable[[], Tensor]:
    names = ("stride", "padding", "dilation", "groups")
    x, weight = args[:2]
    bias = args[2] if len(args) > 2 else None
    given = dict(zip(names, args[3:], strict=False))
    stride, dilation = (list(spread(given.get(key, 1), 2)) for key in ("stride", "dilation"))
    padding, groups = list(spread(given.get("padding", 0), 2)), given.get("groups", 1)
    packed = torch.ops.mkldnn._reorder_convolution_weight(
        weight, padding, stride, dilation, groups, list(x.shape)
    )
    run = torch.ops.mkldnn._convolution_pointwise.default
    return lambda: run(x, packed, bias, padding, stride, dilation, groups, "none", [None], "")


def _linear(args: tuple[Any, ...]) -> Callable[[], Tensor]:
    x, weight = args[:2]
    rows = x.reshape(-1, x.shape[-1])
    if x.dtype != torch.float32:
        own = torch.ops.mkldnn._reorder_linear_weight(weight.to_mkldnn(), rows.shape[0])
        pointwise = torch.ops.mkldnn._linear_pointwise.default
        return lambda: pointwise(rows, own, None, "none", [None], "")
    packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows.shape[0])
    run = torch.ops.mkl._mkl_linear.default
    return lambda: run(rows, packed, weight, None, rows.shape[0])


def _channels_last(x: Operand) -> Operand:
    if len(x.shape) != 4 or x.weight:
        return x
    _, c, h, w = x.shape
    return replace(x, stride=(math.prod((c, h, w)), 1, w * c, c))
