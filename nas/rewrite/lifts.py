"""Functions of torch that a forward may call, each as the module that does the same.

Every entry of the tables takes the arguments of torch's function by their names, as values, and
returns the module, or None where there is none.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from kernels.attention_blocks import MOST_FEATURES

Make = Callable[..., nn.Module | None]


class Attention(nn.Module):
    """Scaled dot-product attention, each head for itself."""

    def __init__(self, causal: bool, scale: float | None) -> None:
        super().__init__()
        self.causal, self.scale = causal, scale

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
    ) -> Tensor:
        """`[B, H, N, E]`, `[B, H, M, E]` twice and a mask that spreads to `[B, H, N, M]`."""
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, is_causal=self.causal, scale=self.scale
        )


class ChannelMean(nn.Module):
    """Mean over all pixels."""

    def forward(self, input: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C]`."""
        return input.mean((2, 3))


class Scale(nn.Module):
    """A factor for each channel: of the second of four dimensions if `images`, else of the last."""

    def __init__(self, scale: Tensor, images: bool) -> None:
        super().__init__()
        self.scale, self.images = _own(scale.flatten()), images

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return input * (self.scale[:, None, None] if self.images else self.scale)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> nn.Module | None:
    # Wider heads would be torch's plain products on a GPU, slower than torch's own kernels.
    served = query.dim() == 4 and query.shape[3] <= MOST_FEATURES and key.shape == value.shape
    same = query.shape[:2] == key.shape[:2]
    return Attention(is_causal, scale) if served and same and dropout_p == 0.0 else None


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> nn.Module:
    norm = nn.LayerNorm(list(normalized_shape), eps, elementwise_affine=False)
    return _with(norm, weight=weight, bias=bias)


def _rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> nn.Module:
    norm = nn.RMSNorm(list(normalized_shape), eps, elementwise_affine=False)
    return _with(norm, weight=weight)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> nn.Module | None:
    if training or input.dim() != 4 or running_mean is None or running_var is None:
        return None
    norm = nn.BatchNorm2d(input.shape[1], eps, affine=False, device="meta")
    norm.running_mean, norm.running_var, norm.num_batches_tracked = running_mean, running_var, None
    return _with(norm, weight=weight, bias=bias)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    return _with(layer, weight=weight, bias=bias)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> nn.Module | None:
    if input.dim() != 4:
        return None
    size = (weight.shape[1] * groups, weight.shape[0], (weight.shape[2], weight.shape[3]))
    layer = nn.Conv2d(*size, stride, padding, dilation, groups, device="meta")
    return _with(layer, weight=weight, bias=bias)


def _mean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> nn.Module | None:
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if input.dim() != 4 or sorted(d % 4 for d in dims) != [2, 3] or dtype is not None:
        return None
    return nn.AdaptiveAvgPool2d(1) if keepdim else ChannelMean()


def _adaptive_pool(input: Tensor, output_size: Any) -> nn.Module | None:
    return nn.AdaptiveAvgPool2d(output_size) if input.dim() == 4 else None


def _max_pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> nn.Module | None:
    if return_indices or input.dim() != 4:
        return None
    return nn.MaxPool2d(kernel_size, stride or None, padding, dilation, ceil_mode=ceil_mode)


def _average_pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> nn.Module | None:
    sizes = (kernel_size, stride or None, padding, ceil_mode, count_include_pad, divisor_override)
    return nn.AvgPool2d(*sizes) if input.dim() == 4 else None


def _scaled(input: Tensor, other: Any) -> nn.Module | None:
    if not isinstance(other, Tensor) or other.numel() < 2 or other.dim() > input.dim():
        return None
    sizes = [1] * (input.dim() - other.dim()) + list(other.shape)
    wide = [dim for dim, size in enumerate(sizes) if size > 1]
    if len(wide) > 1 or wide[0] not in ((1, 3) if input.dim() == 4 else (input.dim() - 1,)):
        return None
    return Scale(other, images=input.dim() == 4 and wide[0] == 1)


def _hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> nn.Module | None:
    return nn.ReLU6() if (min_val, max_val) == (0.0, 6.0) else None


def _activation(cls: Callable[[], nn.Module]) -> Make:
    def make(input: Tensor, inplace: bool = False) -> nn.Module:
        return cls()

    return make


def _gelu(input: Tensor, approximate: str = "none") -> nn.Module:
    return nn.GELU(approximate)


def _with(layer: nn.Module, **tensors: Tensor | None) -> nn.Module:
    """Give a module these tensors, the same objects where they are parameters."""
    for name, tensor in tensors.items():
        layer.register_parameter(name, None if tensor is None else _own(tensor))
    return layer


def _own(tensor: Tensor) -> nn.Parameter:
    if isinstance(tensor, nn.Parameter):
        return tensor
    return nn.Parameter(tensor.detach(), requires_grad=False)


_BY_NAME: dict[str, Make] = {
    **{
        name: _activation(cls)
        for name, cls in (
            *(("relu", nn.ReLU), ("silu", nn.SiLU), ("relu6", nn.ReLU6)),
            *(("hardswish", nn.Hardswish), ("hardsigmoid", nn.Hardsigmoid)),
            ("sigmoid", nn.Sigmoid),
        )
    },
    **{"gelu": _gelu, "hardtanh": _hardtanh, "scaled_dot_product_attention": _attention},
    **{"layer_norm": _layer_norm, "rms_norm": _rms_norm, "batch_norm": _batch_norm},
    **{"linear": _linear, "conv2d": _conv2d, "max_pool2d": _max_pool, "avg_pool2d": _average_pool},
    **{"adaptive_avg_pool2d": _adaptive_pool},
}

FUNCTIONS: dict[Any, Make] = {
    **{getattr(functional, name): make for name, make in _BY_NAME.items()},
    **{
        torch.relu: _BY_NAME["relu"],
        torch.sigmoid: _BY_NAME["sigmoid"],
        torch.mean: _mean,
        torch.max_pool2d: _max_pool,
    },
    **{operator.mul: _scaled, operator.imul: _scaled, torch.mul: _scaled},
}
"""By function."""

METHODS: dict[str, Make] = {
    **{"relu": _BY_NAME["relu"], "relu_": _BY_NAME["relu"], "sigmoid": _BY_NAME["sigmoid"]},
    **{"mean": _mean, "mul": _scaled, "mul_": _scaled},
}
"""By name of a tensor's method."""

_CALLS = frozenset(
    {
        *("relu", "silu", "relu6", "hardswish", "hardsigmoid", "gelu", "hardtanh", "sigmoid"),
        *("scaled_dot_product_attention", "layer_norm", "rms_norm", "batch_norm", "linear"),
        *("convolution", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean", "mul"),
    }
)
"""What the trace shows for them."""

_OPERANDS = ("input", "query", "key", "value", "attn_mask")
"""Names of arguments that the module is called with; all others belong to it."""


def is_known(op: str) -> bool:
    """Whether the trace shows such an operation for one of the functions."""
    return op in _CALLS


def lifted(node: fx.Node, value: Callable[[fx.Node], Any]) -> tuple[nn.Module, list[int]] | None:
    """The module for a node of a graph, and which of the node's input nodes it is called with.

    Args:
        node: any node.
        value: of a node, in the call that the graph was made from.

    Returns:
        None if there is none, or if more than operands come from the graph's inputs.
    """
    make = None
    if node.op == "call_function":
        make = FUNCTIONS.get(node.target)
    elif node.op == "call_method":
        make = METHODS.get(str(node.target))
    if make is None:
        return None
    args = node.args
    if make is _scaled and len(args) == 2 and is_constant(args[0]):
        args = args[::-1]
    try:
        given = inspect.signature(make).bind(*args, **node.kwargs).arguments
    except TypeError:  # another overload
        return None
    operands = [n for name, n in given.items() if name in _OPERANDS and isinstance(n, fx.Node)]
    rest = [n for name, n in given.items() if name not in _OPERANDS]
    inner: list[fx.Node] = []
    fx.map_arg(rest, inner.append)
    if not all(is_constant(n) for n in inner):
        return None
    module = make(**fx.map_arg(given, value))
    if module is None:
        return None
    # Positions outlive the nodes, which other modules may take the place of.
    return module, [node.all_input_nodes.index(n) for n in operands]


def is_constant(node: Any) -> bool:
    """Whether a node hangs on nothing but parameters."""
    if not isinstance(node, fx.Node) or node.op == "get_attr":
        return isinstance(node, fx.Node)
    inner = node.all_input_nodes
    return (
        node.op in ("call_function", "call_method") and bool(inner) and all(map(is_constant, inner))
    )
