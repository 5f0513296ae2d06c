"""The record of one kernel launch: what fusion yields and what a target prices."""

from __future__ import annotations

from dataclasses import dataclass, field

SCHEMES: tuple[str, ...] = ("fp32", "fp16", "bf16", "w8a8", "w8", "w4", "tf32")
"""Precision schemes: float formats; int8 weights and activations; int8 or int4 weights only; `tf32`
is stored in 32 bits and multiplied in TF32."""
FLOAT_BYTES: dict[str, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "tf32": 4}
"""Bytes of an element by float scheme."""

FAMILIES: tuple[str, ...] = (
    "gemm",
    "conv2d",
    "depthwise_conv2d",
    "elementwise",
    "layer_norm",
    "softmax",
    "pool",
    "reduce",
    "copy",
    "other",
)
"""Kinds of kernel that are priced alike. `other` is what no rule knows: bytes and a wide range;
and attention in one kernel, which alone of these has `k` above one."""

SOFTMAX_FLOPS = 5
"""Operations that count for one element of a soft-max: an exponential and its neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One launch, with what decides its time. Equal kernels cost the same.

    Matrix products and convolutions state their (implicit) product: `groups` independent products
    of `[m, k]` by `[k, n]`. For a convolution `m` = batch · height_out · width_out, `n` = channels
    out per group, `k` = channels in per group · kernel height · kernel width. Norms, soft-max and
    reductions state `m` rows of `n` columns; attention `groups` times `m` queries of `n` elements
    over `k` keys. Bytes are what the launch must move at least once, at the precision of its
    scheme, fused operands included.
    """

    op: str
    """One of `FAMILIES`."""
    scheme: str
    """One of `SCHEMES`."""
    m: int
    """Rows of the (implicit) product; rows for row-wise kernels; elements for the others."""
    n: int = 1
    """Columns of the product, per group; length of a row for row-wise kernels."""
    k: int = 1
    """Length of the sum for one output."""
    groups: int = 1
    """Independent products in the launch."""
    taps: int = 1
    """Kernel height times kernel width of a convolution or pool."""
    stride: int = 1
    """Stride of a convolution or pool."""
    flops: int = 0
    """Floating-point (or integer) operations, two for each multiply-add."""
    read_bytes: int = 0
    """Bytes of activations read."""
    weight_bytes: int = 0
    """Bytes of parameters read."""
    write_bytes: int = 0
    """Bytes written."""
    ops: tuple[str, ...] = ()
    """Torch's names of the operations performed, in order. On a CPU which functions a kernel
    computes decides its time; set by CPU runtimes alone, as are the fields below."""
    layout: str = ""
    """How images lie in memory: `nchw`, `nhwc`, or empty where no image is read."""
    shape: tuple[int, ...] = ()
    """Sizes of the main tensor read, the batch included."""
    dilation: int = 1
    """Dilation of a convolution or pool."""
    padding: int = 0
    """Rows or columns that a convolution or pool adds to each side."""
    joined: bool = False
    """Whether it runs in the function of the kernel before it, and needs no dispatch of its own."""
    strided: bool = False
    """Whether a tensor is read in another order than the result is written."""
    detail: str = field(default="", compare=False)
    """For people: the fused operations, such as `convolution+batch_norm+gelu`."""
    path: str = field(default="", compare=False)
    """For people: the module path of the operation that gave the launch its family."""


def is_unknown(kernel: Kernel) -> bool:
    """Whether no rule knows the kernel, so that it is priced by bytes and operations alone."""
    return kernel.op == "other" and kernel.k == 1
