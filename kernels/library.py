"""The operations as torch operators of the namespace `nas`, for inference.

torch.compile, torch.export and tracers see `torch.ops.nas.gemm` and its kin as single nodes; what
runs is the public function with `backend="auto"`. Importing this file registers them.

Every operator has a *meaning*: the same in ordinary torch operations, in the dtype of its input. It
gives shapes on fake and meta tensors, and to a tracer the work that the one launch does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from kernels import operator_meanings as meanings
from kernels.attention import attention
from kernels.dense_conv import dense_conv2d
from kernels.depthwise_conv import depthwise_conv2d
from kernels.elementwise import batch_norm
from kernels.gate import eca, squeeze_excite
from kernels.gemm import gemm, pointwise_conv2d
from kernels.global_pool import gem_pool, global_average_pool
from kernels.inception_depthwise import inception_depthwise_conv2d
from kernels.norm import layer_norm, rms_norm
from kernels.pool import average_pool2d, max_pool2d

Function = Callable[..., Tensor]

NAMESPACE = "nas"
"""Of the operators, as in `torch.ops.nas`."""

# Operators live as long as this does.
_LIBRARY: Any = torch.library.Library(NAMESPACE, "FRAGMENT")  # type: ignore[no-untyped-call]

MEANINGS: dict[torch._ops.OpOverload, Function] = {}
"""What each operator computes, in ordinary torch operations; arguments as the operator's own."""


def _image_like(y: Tensor, x: Tensor, **options: object) -> Tensor:
    """Channels-last where `x` has its channels innermost, contiguous elsewhere."""
    last = x.shape[1] > 1 and x.stride(1) == 1
    return y.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def _product_image(y: Tensor, x: Tensor, **options: object) -> Tensor:
    """Channels-last where Triton makes it so, like `x` elsewhere."""
    return y.contiguous(memory_format=torch.channels_last) if x.is_cuda else _image_like(y, x)


def _channels_innermost(y: Tensor, x: Tensor, *, channel_dim: int = -1, **rest: object) -> Tensor:
    return y.movedim(channel_dim, -1).contiguous().movedim(-1, channel_dim)


def _heads_side_by_side(y: Tensor, x: Tensor, **options: object) -> Tensor:
    return y.transpose(1, 2).contiguous().transpose(1, 2)


def _rows(y: Tensor, x: Tensor, **options: object) -> Tensor:
    return y.contiguous()


_EPILOGUE = "Tensor? bias=None, Tensor? residual=None, *"
_VECTORS = "Tensor? weight=None, Tensor? bias=None, *"

# Name, arguments, what runs, what it means, and the memory layout that both answer in.
_OPERATORS: tuple[tuple[str, str, Function, Function, Function], ...] = (
    (
        "depthwise_conv2d",
        f"Tensor x, Tensor weight, {_EPILOGUE}, int stride=1, int dilation=1, "
        "str activation='none'",
        depthwise_conv2d,
        meanings.depthwise,
        _image_like,
    ),
    (
        "pointwise_conv2d",
        f"Tensor x, Tensor weight, {_EPILOGUE}, str activation='none'",
        pointwise_conv2d,
        meanings.dense,
        _product_image,
    ),
    (
        "dense_conv2d",
        f"Tensor x, Tensor weight, {_EPILOGUE}, int stride=1, int padding=0, int dilation=1, "
        "str activation='none'",
        dense_conv2d,
        meanings.dense,
        _product_image,
    ),
    (
        "gemm",
        f"Tensor x, Tensor weight, {_EPILOGUE}, str activation='none'",
        gemm,
        meanings.gemm,
        _rows,
    ),
    (
        "layer_norm",
        f"Tensor x, {_VECTORS}, float eps=1e-5, int channel_dim=-1, str activation='none'",
        layer_norm,
        meanings.layer_norm,
        _channels_innermost,
    ),
    (
        "rms_norm",
        "Tensor x, Tensor? weight=None, *, float eps=1e-6, int channel_dim=-1, "
        "str activation='none'",
        rms_norm,
        meanings.rms_norm,
        _channels_innermost,
    ),
    (
        "batch_norm",
        f"Tensor x, Tensor mean, Tensor variance, {_VECTORS}, float eps=1e-5, "
        "str activation='none'",
        batch_norm,
        meanings.batch_norm,
        _image_like,
    ),
    (
        "squeeze_excite",
        "Tensor x, Tensor squeeze_weight, Tensor squeeze_bias, Tensor excite_weight, "
        "Tensor excite_bias, *, str activation='relu'",
        squeeze_excite,
        meanings.squeeze_excite,
        _image_like,
    ),
    ("eca", "Tensor x, Tensor weight", eca, meanings.eca, _image_like),
    (
        "inception_depthwise_conv2d",
        "Tensor x, Tensor square_weight, Tensor row_weight, Tensor column_weight, "
        "Tensor? square_bias=None, Tensor? row_bias=None, Tensor? column_bias=None",
        inception_depthwise_conv2d,
        meanings.inception,
        _image_like,
    ),
    (
        "attention",
        "Tensor q, Tensor k, Tensor v, Tensor? bias=None, *, bool causal=False, float? scale=None",
        attention,
        meanings.attention,
        _heads_side_by_side,
    ),
    (
        "max_pool2d",
        "Tensor x, int kernel, *, int? stride=None, int padding=0",
        max_pool2d,
        meanings.max_pool,
        _image_like,
    ),
    (
        "average_pool2d",
        "Tensor x, int kernel, *, int? stride=None, int padding=0, bool count_include_pad=True",
        average_pool2d,
        meanings.average_pool,
        _image_like,
    ),
    ("global_average_pool", "Tensor x", global_average_pool, meanings.global_average_pool, _rows),
    (
        "gem_pool",
        "Tensor x, Tensor exponent, *, float eps=1e-6",
        gem_pool,
        meanings.gem_pool,
        _rows,
    ),
)


class _WithoutGradient(torch.autograd.Function):
    """Runs an operator whose inputs ask for gradients, which it then refuses."""

    @staticmethod
    def forward(ctx: Any, operator: Function, name: str, *args: object) -> Tensor:
        ctx.name = name
        return operator(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise NotImplementedError(
            f"{NAMESPACE}::{ctx.name} is for inference and has no gradient: train the module that "
            "it was put into, before that, or call the function in kernels/"
        )


def _define(
    name: str, arguments: str, run: Function, meaning: Function, layout: Function
) -> Function:
    """Register one operator; compiled code relies on equal layouts from `run` and `meaning`.

    By hand, as the wrappers of `torch.library.custom_op` add more to every call, which a small
    network feels.
    """

    def forward(*args: object, **options: object) -> Tensor:
        return layout(run(*args, **options), args[0], **options)

    def fake(*args: object, **options: object) -> Tensor:
        return layout(meaning(*args, **options), args[0], **options)

    def autograd(*args: object, **options: object) -> Tensor:
        if torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in args):
            refuse: Function = _WithoutGradient.apply
            return refuse(partial(overload, **options), name, *args)
        with torch._C._AutoDispatchBelowAutograd():
            found: Tensor = overload(*args, **options)
            return found

    _LIBRARY.define(f"{name}({arguments}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
    overload: torch._ops.OpOverload = getattr(getattr(torch.ops, NAMESPACE), name).default
    _LIBRARY.impl(name, forward, "CompositeExplicitAutograd")
    _LIBRARY.impl(name, autograd, "Autograd")
    torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=_LIBRARY)
    MEANINGS[overload] = meaning
    return overload


OPERATORS: dict[str, Function] = {row[0]: _define(*row) for row in _OPERATORS}
"""The operators by name."""
