"""One layer to be timed: an operator with its sizes, as tables of kernels name them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hwprofile.kernel_rows import SIZES
from hwprofile.meta_shapes import spread
from hwprofile.record import Attribute, OpCall

_CONV = (*SIZES["conv2d"], "groups")
LAYER_SIZES: dict[str, tuple[str, ...]] = {
    **{name: SIZES[name] for name in ("gemm", "bmm", "attention")},
    "conv2d": _CONV,
    **{name: SIZES[name] for name in ("depthwise_conv2d", "max_pool2d", "avg_pool2d")},
    **{name: SIZES[name] for name in ("global_avg_pool2d", "layer_norm", "rms_norm", "softmax")},
    **{name: SIZES[name] for name in ("add", "mul", "relu", "gelu", "silu", "sigmoid")},
    **{name: SIZES[name] for name in ("hardswish", "tanh")},
}
"""Operators that are timed, each with the columns of its sizes."""
SIZE_COLUMNS: tuple[str, ...] = tuple(
    dict.fromkeys(name for names in LAYER_SIZES.values() for name in names)
)
"""Every column of sizes, each once."""


@dataclass(frozen=True, slots=True, order=True)
class Layer:
    """An operator with its sizes. Images are square, and channels-last in memory."""

    op: str
    """A name in `LAYER_SIZES`."""
    sizes: tuple[int, ...]
    """In the order of `LAYER_SIZES[op]`."""

    @property
    def named(self) -> dict[str, int]:
        """Sizes by the names of their columns."""
        return dict(zip(LAYER_SIZES[self.op], self.sizes, strict=True))

    def at_batch(self, batch: int) -> Layer:
        """The layer with the first of its sizes, which counts with the batch, so many times."""
        return Layer(self.op, (self.sizes[0] * batch, *self.sizes[1:]))


def layer_of(call: OpCall) -> Layer | None:
    """The layer that an operation of a trace is; None if none of `LAYER_SIZES` says all of it."""
    rule = _RULES.get(call.op)
    if rule is None or not call.output_shapes or 0 in call.output_shapes[0]:
        return None
    return rule(call)


def _convolution(call: OpCall) -> Layer | None:
    attrs, given, out = call.attrs, call.input_shapes[0], call.output_shapes[0]
    kernel, stride = _integers(attrs["kernel"]), _integers(attrs["stride"])
    padding = _integers(attrs["padding"])
    groups = _integers(attrs["groups"])[0]
    square = all(len(set(sides)) == 1 for sides in (kernel, stride, padding, given[2:]))
    if len(given) != 4 or attrs["transposed"] or set(_integers(attrs["dilation"])) != {1}:
        return None
    batch, channels, size, _ = given
    if {*kernel, *stride, groups} == {1} and not any(padding):
        return Layer("gemm", (batch * size * given[3], out[1], channels))
    if not square:
        return None
    window = (kernel[0], size, stride[0], padding[0])
    if groups == channels == out[1] and groups > 1:
        return Layer("depthwise_conv2d", (batch, channels, *window))
    return Layer("conv2d", (batch, channels, out[1], *window, groups))


def _linear(call: OpCall) -> Layer | None:
    if not call.weights:
        return _product(call)
    given, out = call.input_shapes[0], call.output_shapes[0]
    return Layer("gemm", (math.prod(out[:-1]), out[-1], given[-1]))


def _product(call: OpCall) -> Layer | None:
    if len(call.input_shapes) != 2 or min(map(len, call.input_shapes)) < 3:
        return None
    left, right = call.input_shapes
    if left[:-2] != right[:-2]:
        return None
    return Layer("bmm", (math.prod(left[:-2]), left[-2], right[-1], left[-1]))


def _attention(call: OpCall) -> Layer | None:
    query, key, value = call.input_shapes[:3]
    masked = len(call.input_shapes) > 3 or call.weights or call.attrs.get("is_causal")
    if masked or query[-1] != value[-1] or query[:-2] != key[:-2]:
        return None
    return Layer("attention", (math.prod(query[:-2]), query[-2], query[-1], key[-2]))


def _norm(call: OpCall) -> Layer | None:
    shape = call.input_shapes[0]
    columns = math.prod(_integers(call.attrs["normalized_shape"]))
    return Layer(call.op, (math.prod(shape) // columns, columns))


def _softmax(call: OpCall) -> Layer | None:
    shape = call.input_shapes[0]
    if _integers(call.attrs["dim"])[0] not in (-1, len(shape) - 1):
        return None
    return Layer("softmax", (math.prod(shape[:-1]), shape[-1]))


def _elements(call: OpCall) -> Layer | None:
    shapes = set(call.input_shapes)
    wanted = 2 if call.op in ("add", "mul") else 1
    if len(call.input_shapes) != wanted or len(shapes) != 1 or call.weights:
        return None
    (shape,) = shapes
    columns = shape[1] if len(shape) == 4 else shape[-1] if shape else 1
    return Layer(call.op, (math.prod(shape) // columns, columns))


def _pool(call: OpCall) -> Layer | None:
    kernel = _integers(call.attrs["kernel_size"])
    stride = _integers(call.attrs["stride"]) or kernel
    padding, given = _integers(call.attrs["padding"]), call.input_shapes[0]
    square = all(len(set(sides)) == 1 for sides in (kernel, stride, padding, given[2:]))
    if not square or len(given) != 4 or call.attrs.get("ceil_mode"):
        return None
    return Layer(call.op, (given[0], given[1], kernel[0], given[2], stride[0], padding[0]))


def _mean(call: OpCall) -> Layer | None:
    shape = call.input_shapes[0]
    if call.op == "mean":
        dims = call.attrs.get("dim")
        whole = isinstance(dims, tuple) and {d % len(shape) for d in _integers(dims)} == {2, 3}
    else:
        whole = set(_integers(call.attrs["output_size"])) == {1}
    if not whole or len(shape) != 4 or shape[2] != shape[3]:
        return None
    return Layer("global_avg_pool2d", shape[:3])


def _integers(value: Attribute) -> Sequence[int]:
    return spread(value, 1)


_RULES: dict[str, Callable[[OpCall], Layer | None]] = {
    "convolution": _convolution,
    "linear": _linear,
    **dict.fromkeys(("matmul", "bmm"), _product),
    "scaled_dot_product_attention": _attention,
    **dict.fromkeys(("layer_norm", "rms_norm"), _norm),
    "softmax": _softmax,
    **dict.fromkeys(("add", "mul"), _elements),
    **dict.fromkeys(("relu", "gelu", "silu", "sigmoid", "hardswish", "tanh"), _elements),
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), _pool),
    **dict.fromkeys(("mean", "adaptive_avg_pool2d"), _mean),
}
