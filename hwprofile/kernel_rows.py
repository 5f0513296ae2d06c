"""Operators that a table of single kernels may name, and the launch that a row stands for."""

from __future__ import annotations

from collections.abc import Mapping

from hwprofile.alone import READS
from hwprofile.conv_fp32 import ConvShape
from hwprofile.kernel import SOFTMAX_FLOPS, Kernel

_PRODUCTS = ("gemm", "linear", "matmul", "bmm")
CONVS = ("conv2d", "conv", "depthwise_conv2d")
ROWWISE = {
    "layer_norm": "layer_norm",
    "ln": "layer_norm",
    "rms_norm": "rms_norm",
    "softmax": "softmax",
}
_POOLS = ("max_pool2d", "avg_pool2d")
_WHOLE = ("attention", "global_avg_pool2d")
_BINARY = ("add", "sub", "mul", "div", "pow")
_UNARY = (
    *("addu", "subu", "mulu", "divu", "powu"),
    *("relu", "leaky_relu", "gelu", "tanh", "silu", "sigmoid", "exp", "sqrt", "hardswish"),
)
_TRITON_SIZES: dict[str, tuple[str, ...]] = {
    "rope": ("b", "h", "num_q_heads", "num_kv_heads"),
    **dict.fromkeys(("swiglu", "geglu"), ("b", "h", "intermediate_size")),
    "cross_entropy": ("b", "h"),
}
TORCH_OPS = (*_PRODUCTS, *CONVS, *_BINARY, *_UNARY, *ROWWISE, *_POOLS, *_WHOLE)
OPS: tuple[str, ...] = (*TORCH_OPS, *_TRITON_SIZES)
"""Operators that a table may name. `add` takes two tensors, `addu` a tensor and a number."""

SIZES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_PRODUCTS, ("m", "n", "k")),
    "bmm": ("b", "m", "n", "k"),
    **dict.fromkeys(
        ("conv2d", "conv"),
        ("b", "input_channel", "output_channel", "kernel_size", "input_size", "stride", "padding"),
    ),
    **dict.fromkeys(
        ("depthwise_conv2d", *_POOLS),
        ("b", "input_channel", "kernel_size", "input_size", "stride", "padding"),
    ),
    **dict.fromkeys((*_BINARY, *_UNARY, *ROWWISE), ("b", "h")),
    "attention": ("b", "m", "n", "k"),
    "global_avg_pool2d": ("b", "input_channel", "input_size"),
    **_TRITON_SIZES,
}
"""Columns of sizes by operator: `[b, h]` elements, or `b` rows of `h`; square images; attention of
`m` queries of `n` features over `k` keys in each of `b` heads."""

_ELEMENT_BYTES = {"fp32": 4, "tf32": 4}
# Operations an element, where arithmetic may bind: the measured rates of `pow` and `powu` on A100
# at a quarter of the fp32 peak. Others stream bytes first.
_FLOPS = {"pow": 35, "powu": 26}


class KernelTableError(ValueError):
    """A table that cannot be read or priced."""


def kernel_of(op: str, scheme: str, sizes: Mapping[str, int]) -> Kernel:
    """The launch that a row stands for.

    Args:
        op: one of `OPS`.
        scheme: one of `SCHEMES`.
        sizes: those of `SIZES[op]`, and `groups`: of a `bmm` with `b` multiplied in.

    Raises:
        KernelTableError: the sizes of a convolution or pool do not go together.
    """
    if op in _PRODUCTS:
        return _product(op, scheme, sizes)
    if op == "attention":
        return _attention(scheme, sizes)
    if op == "global_avg_pool2d":
        return _reduction(scheme, sizes)
    if op in _POOLS:
        return _pool(scheme, conv_shape(op, sizes))
    if op in CONVS:
        return _convolution(scheme, conv_shape(op, sizes))
    return _stream(ROWWISE.get(op, op), scheme, sizes["b"], sizes["h"])


def _product(op: str, scheme: str, sizes: Mapping[str, int]) -> Kernel:
    m, n, k, groups = (sizes[name] for name in ("m", "n", "k", "groups"))
    flops = 2 * m * n * k * groups
    # No bytes given: the model counts those of a plain product itself.
    return Kernel(op="gemm", scheme=scheme, m=m, n=n, k=k, groups=groups, flops=flops, detail=op)


def conv_shape(op: str, sizes: Mapping[str, int]) -> ConvShape:
    """The convolution or pool that a row of an operator in `CONVS` or a pool stands for."""
    c_in = sizes["input_channel"]
    c_out = sizes.get("output_channel", c_in)
    groups = c_in if op == "depthwise_conv2d" else sizes["groups"]
    if c_in % groups or c_out % groups:
        raise KernelTableError(
            f"groups must divide input_channel and output_channel; got {groups}, {c_in}, {c_out}"
        )
    shape = ConvShape(
        batch=sizes["b"],
        size=sizes["input_size"],
        c_in=c_in,
        c_out=c_out,
        kernel=sizes["kernel_size"],
        stride=sizes["stride"],
        padding=sizes["padding"],
        groups=groups,
    )
    if shape.size + 2 * shape.padding < shape.kernel:
        raise KernelTableError(
            "kernel_size must fit into input_size + 2 * padding; got "
            f"{shape.kernel}, {shape.size} and {shape.padding}"
        )
    return shape


def _convolution(scheme: str, shape: ConvShape) -> Kernel:
    width = _ELEMENT_BYTES.get(scheme, 2)
    out = shape.batch * shape.out_size**2
    k = shape.c_in // shape.groups * shape.kernel**2
    weight_bits = {"fp32": 32, "tf32": 32, "w8a8": 8, "w8": 8, "w4": 4}.get(scheme, 16)
    act = 1 if scheme == "w8a8" else width
    return Kernel(
        op="depthwise_conv2d" if shape.groups == shape.c_in > 1 else "conv2d",
        scheme=scheme,
        m=out,
        n=shape.c_out // shape.groups,
        k=k,
        groups=shape.groups,
        taps=shape.kernel**2,
        stride=shape.stride,
        flops=2 * out * shape.c_out * k,
        read_bytes=shape.batch * shape.size**2 * shape.c_in * act,
        weight_bytes=shape.c_out * k * weight_bits // 8,
        write_bytes=out * shape.c_out * width,
    )


def _pool(scheme: str, shape: ConvShape) -> Kernel:
    width = _ELEMENT_BYTES.get(scheme, 2)
    out = shape.batch * shape.out_size**2 * shape.c_in
    return Kernel(
        op="pool",
        scheme=scheme,
        m=out,
        taps=shape.kernel**2,
        stride=shape.stride,
        flops=out * shape.kernel**2,
        read_bytes=shape.batch * shape.size**2 * shape.c_in * width,
        write_bytes=out * width,
    )


def _attention(scheme: str, sizes: Mapping[str, int]) -> Kernel:
    heads, m, n, k = (sizes[name] for name in ("b", "m", "n", "k"))
    width = _ELEMENT_BYTES.get(scheme, 2)
    return Kernel(
        op="other",
        scheme=scheme,
        m=m,
        n=n,
        k=k,
        groups=heads,
        flops=heads * m * k * (4 * n + SOFTMAX_FLOPS),
        read_bytes=heads * (m + 2 * k) * n * width,
        write_bytes=heads * m * n * width,
        detail="attention",
    )


def _reduction(scheme: str, sizes: Mapping[str, int]) -> Kernel:
    rows, columns = sizes["b"] * sizes["input_channel"], sizes["input_size"] ** 2
    width = _ELEMENT_BYTES.get(scheme, 2)
    return Kernel(
        op="reduce",
        scheme=scheme,
        m=rows,
        n=columns,
        flops=rows * columns,
        read_bytes=rows * columns * width,
        write_bytes=rows * width,
        detail="global_avg_pool2d",
    )


def _stream(op: str, scheme: str, b: int, h: int) -> Kernel:
    moved = b * h * _ELEMENT_BYTES.get(scheme, 2)
    rowwise = op in ROWWISE.values()
    return Kernel(
        op=("softmax" if op == "softmax" else "layer_norm") if rowwise else "elementwise",
        scheme=scheme,
        m=b if rowwise else b * h,
        n=h if rowwise else 1,
        flops=b * h * _FLOPS.get(op, 8 if rowwise else 1),
        read_bytes=moved * READS.get(op, 1),
        write_bytes=moved,
        detail=op,
    )
