"""Which family of kernel runs each operation, and the sizes that decide its time.

Legend: B batch, C channels, S spatial positions, L and E rows and columns of attention's query.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hwprofile.kernel import SOFTMAX_FLOPS
from hwprofile.meta_shapes import spread
from hwprofile.op_rules import BINARY, UNARY
from hwprofile.record import Attribute, OpCall

_POINTWISE = """clone to type_as float half glu zeros_like ones_like full_like empty_like new_zeros
    new_ones new_empty upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d
    upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d batch_norm isnan
    isinf isneginf isposinf"""
_COPIES = """cat stack roll pad constant_pad_nd reflection_pad2d replication_pad2d repeat tile flip
    reshape flatten view view_as unflatten contiguous copy index index_select gather embedding
    pixel_shuffle pixel_unshuffle channel_shuffle repeat_interleave im2col col2im"""
_REDUCTIONS = """mean sum amax amin max min var std prod linalg_vector_norm norm logsumexp argmax
    argmin any all"""
_PRODUCTS = "linear matmul mm addmm bmm baddbmm mv dot"
_NORMS = "layer_norm group_norm rms_norm"
_POOLS = """max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
    max_pool2d_with_indices adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d"""

FAMILY_OF: dict[str, str] = {
    **dict.fromkeys(UNARY | BINARY, "elementwise"),
    **dict.fromkeys(_POINTWISE.split(), "elementwise"),
    **dict.fromkeys(_COPIES.split(), "copy"),
    **dict.fromkeys(_REDUCTIONS.split(), "reduce"),
    **dict.fromkeys(_PRODUCTS.split(), "gemm"),
    **dict.fromkeys(_NORMS.split(), "layer_norm"),
    **dict.fromkeys(_POOLS.split(), "pool"),
    **dict.fromkeys(("softmax", "log_softmax"), "softmax"),
    "convolution": "conv2d",
}
"""Family of kernel by operation; what is missing, attention too, is `other`."""

EPILOGUE: frozenset[str] = frozenset(
    {
        "gemm",
        "conv2d",
        "depthwise_conv2d",
        "elementwise",
        "layer_norm",
        "softmax",
        "pool",
        "reduce",
        "copy",
    }
)
"""Families whose kernels apply elementwise operations to what they are about to write."""

PROLOGUE: frozenset[str] = frozenset({"layer_norm", "softmax", "reduce"})
"""Families whose kernels apply elementwise operations to what they have just read."""

JOINED_WHILE_READ: frozenset[str] = frozenset({"elementwise", "layer_norm", "softmax"})
"""Families that share a kernel with an elementwise neighbour even where others read what is
between: it is then written on the way."""

QUANTIZED: frozenset[str] = frozenset({"gemm", "conv2d", "depthwise_conv2d"})
"""Families that read weights in a quantized scheme."""

QUANTIZES: frozenset[str] = QUANTIZED | {"elementwise", "layer_norm"}
"""Families whose kernels can also write what they computed as int8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epilogue:
    """What a library's product can do with its result before it writes it."""

    unary: frozenset[str] = frozenset()
    """Operations on one tensor, of which it does one."""
    binary: frozenset[str] = frozenset()
    """Operations with another tensor as large, or one value for each channel; it does one."""
    after: frozenset[str] = frozenset()
    """Operations that it does after one of `binary`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseRules:
    """Which operations a compiler joins."""

    prologue: frozenset[str] = PROLOGUE
    """Families whose kernels apply elementwise operations to what they have just read."""
    folds: frozenset[str] = frozenset({"batch_norm"})
    """Operations with constants that fold into the weights of the product before."""
    into: frozenset[str] | None = None
    """Products, by operation, into which they fold; None for all."""
    epilogues: Mapping[str, Epilogue] | None = None
    """What each product does to its result, by operation; None where all do everything."""


GRAPH_RULES = FuseRules()
"""Of `cuda-graph`: every product has an epilogue."""
FLOPS_PER_ELEMENT: dict[str, int] = {
    "layer_norm": 8,
    "group_norm": 8,
    "rms_norm": 4,
    "softmax": SOFTMAX_FLOPS,
}
"""Operations for one element where it is not one: two passes of statistics, an exponential."""


class Sizes(NamedTuple):
    """Family and sizes of a kernel, as in `hwprofile.kernel.Kernel`."""

    op: str
    m: int
    n: int = 1
    k: int = 1
    groups: int = 1
    taps: int = 1
    stride: int = 1
    flops: int = 0


def sizes_of(call: OpCall) -> Sizes:
    """Family and sizes of the kernel for an operation by itself."""
    family = FAMILY_OF.get(call.op, "other")
    rule = _SIZES.get(family)
    return _elements(call, family) if rule is None else rule(call, family)


def _elements(call: OpCall, family: str) -> Sizes:
    if call.op == "scaled_dot_product_attention":
        return _attention(call)
    elements = math.prod(call.output_shapes[0])
    flops = elements if family == "elementwise" else 2 * call.macs
    return Sizes(op=family, m=elements, flops=flops)


def _attention(call: OpCall) -> Sizes:
    """One fused kernel: `B · heads` products of `[L, S]` by `[S, E]`, the soft-max between."""
    query, key = call.input_shapes[0], call.input_shapes[1]
    groups, rows, keys = math.prod(query[:-2]), query[-2], key[-2]
    exponentials = groups * rows * keys * FLOPS_PER_ELEMENT["softmax"]
    flops = 2 * call.macs + exponentials
    return Sizes(op="other", m=rows, n=query[-1], k=keys, groups=groups, flops=flops)


def _convolution(call: OpCall, family: str) -> Sizes:
    attrs, out, given = call.attrs, call.output_shapes[0], call.input_shapes[0]
    kernel, strides = _integers(attrs["kernel"]), _integers(attrs["stride"])
    groups, taps, rank = _integers(attrs["groups"])[0], math.prod(kernel), len(kernel)
    channels_in, channels_out = given[-rank - 1], out[-rank - 1]
    flops, stride = 2 * call.macs, max(strides, default=1)
    if attrs["transposed"]:
        # Each input position is multiplied by the whole filter; the products are then scattered.
        m, n = math.prod(given) // channels_in, channels_out // groups * taps
        k = channels_in // groups
        return Sizes("conv2d", m, n, k, groups, taps, stride, flops)
    m, k = math.prod(out) // channels_out, channels_in // groups * taps
    if groups == channels_in == channels_out and groups > 1:
        return Sizes("depthwise_conv2d", m, 1, taps, groups, taps, stride, flops)
    if taps == 1 and stride == 1 and groups == 1 and not any(_integers(attrs["padding"])):
        return Sizes("gemm", m, channels_out, k, flops=flops)
    return Sizes("conv2d", m, channels_out // groups, k, groups, taps, stride, flops)


def _product(call: OpCall, family: str) -> Sizes:
    out = call.output_shapes[0]
    n = out[-1] if out else 1
    rows = math.prod(out[:-1])
    k = call.macs // max(rows * n, 1)
    # Against a weight all rows are one product; activations multiply one by one.
    groups = 1 if call.weights else math.prod(out[:-2])
    return Sizes("gemm", rows // max(groups, 1), n, k, groups, flops=2 * call.macs)


def _norm(call: OpCall, family: str) -> Sizes:
    shape = call.input_shapes[0]
    elements = math.prod(shape)
    if call.op == "group_norm":
        rows = shape[0] * _integers(call.attrs["num_groups"])[0]
    else:
        rows = elements // max(math.prod(_integers(call.attrs["normalized_shape"])), 1)
    flops = elements * FLOPS_PER_ELEMENT[call.op]
    return Sizes(op=family, m=rows, n=elements // max(rows, 1), flops=flops)


def _softmax(call: OpCall, family: str) -> Sizes:
    shape = call.input_shapes[0]
    elements, n = math.prod(shape), shape[_integers(call.attrs["dim"])[0]]
    flops = elements * FLOPS_PER_ELEMENT["softmax"]
    return Sizes(op=family, m=elements // max(n, 1), n=n, flops=flops)


def _reduction(call: OpCall, family: str) -> Sizes:
    read, written = math.prod(call.input_shapes[0]), math.prod(call.output_shapes[0])
    return Sizes(op="reduce", m=written, n=read // max(written, 1), flops=read)


def _pool(call: OpCall, family: str) -> Sizes:
    read, written = math.prod(call.input_shapes[0]), math.prod(call.output_shapes[0])
    if call.op.startswith("adaptive"):
        if set(_integers(call.attrs["output_size"])) == {1}:
            return _reduction(call, family)
        taps = read // max(written, 1)
        return Sizes(op=family, m=written, taps=taps, stride=1, flops=read)
    kernel = _integers(call.attrs["kernel_size"])
    taps = math.prod(kernel) ** (2 if len(kernel) == 1 and call.op.endswith("2d") else 1)
    stride = max(_integers(call.attrs.get("stride") or kernel))
    return Sizes(op=family, m=written, taps=taps, stride=stride, flops=written * taps)


def _integers(value: Attribute) -> tuple[int, ...]:
    return spread(value, 1)


_SIZES: dict[str, Callable[[OpCall, str], Sizes]] = {
    "conv2d": _convolution,
    "gemm": _product,
    "layer_norm": _norm,
    "softmax": _softmax,
    "reduce": _reduction,
    "pool": _pool,
}
