"""From a record to the kernels of eager PyTorch under autocast: one for each operation.

The published throughputs of whole models are of this runtime, not of the compiled one that
`hwprofile.fuse` predicts. Beside one launch for every operation it pays for casts: autocast runs
products and convolutions in 16 bits, and norms, soft-max and sums in 32. Other operations take the
wider type of what they read, parameters (32 bits) included. Casts of weights are not counted: they
are as small as the weights, read once a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from hwprofile.fuse_rules import sizes_of
from hwprofile.kernel import FLOAT_BYTES, Kernel
from hwprofile.record import OpCall, Record

HALF = frozenset(
    {"convolution", "linear", "matmul", "mm", "addmm", "bmm", "baddbmm", "mv", "prelu"}
) | {"scaled_dot_product_attention"}
"""Operations that autocast runs in 16 bits (PyTorch, automatic mixed precision, CUDA op lists)."""
FULL = frozenset(
    [
        "layer_norm",
        "group_norm",
        "rms_norm",
        "softmax",
        "log_softmax",
        "sum",
        "prod",
        "norm",
        "linalg_vector_norm",
        "exp",
        "log",
        "pow",
        "rsqrt",
        "reciprocal",
        "softplus",
        "cumsum",
    ]
)
"""Operations that autocast runs in 32 bits."""


def eager_kernels(record: Record, scheme: str = "fp16") -> Iterator[Kernel]:
    """The kernels that launch, in order.

    Args:
        record: A record without holes.
        scheme: A float scheme; those of 16 bits are autocast, `fp32` and `tf32` cast nothing.
    """
    narrow, bits = FLOAT_BYTES[scheme], dict.fromkeys(record.inputs, 4)
    for call in record.calls:
        if call.view:
            bits.update(dict.fromkeys(call.outputs, bits[call.inputs[0]]))
            continue
        size = _size(call, bits, narrow)
        given = dict(zip(call.inputs, call.input_shapes, strict=True))
        if call.op in HALF or call.op in FULL:
            for tensor, shape in given.items():
                if bits[tensor] != size:
                    yield _cast(math.prod(shape), bits[tensor], size, scheme, call.path)
                    bits[tensor] = size if call.op in HALF else bits[tensor]
        made = 1 if call.inplace else len(call.outputs)
        read = sum(math.prod(shape) * size for shape in given.values())
        written = sum(math.prod(shape) for shape in call.output_shapes[:made])
        bits.update(dict.fromkeys(call.outputs, size))
        yield _kernel(call, _scheme(call, size, scheme), size, read, written * size)


def _size(call: OpCall, bits: dict[int, int], narrow: int) -> int:
    """Bytes of an element that an operation works on."""
    if call.op in HALF:
        return narrow
    if call.op in FULL:
        return 4
    # A norm of batches takes 32-bit statistics and keeps its input's type.
    wide = call.op != "batch_norm" and any(weight.shape for weight in call.weights)
    return max([4 if wide else narrow, *(bits[i] for i in call.inputs)])


def _scheme(call: OpCall, size: int, scheme: str) -> str:
    if size == 2:
        return scheme
    return "tf32" if scheme == "tf32" and call.op in HALF else "fp32"


def _kernel(call: OpCall, scheme: str, size: int, read: int, written: int) -> Kernel:
    op, m, n, k, groups, taps, stride, flops = sizes_of(call)
    weights = sum(weight.numel for weight in call.weights)
    if call.op == "embedding":
        weights = math.prod(call.output_shapes[0])
    return Kernel(
        op=op,
        scheme=scheme,
        m=m,
        n=n,
        k=k,
        groups=groups,
        taps=taps,
        stride=stride,
        flops=flops,
        read_bytes=read,
        weight_bytes=weights * size,
        write_bytes=written,
        detail=call.op,
        path=call.path,
    )


def _cast(elements: int, read: int, written: int, scheme: str, path: str) -> Kernel:
    return Kernel(
        op="elementwise",
        scheme=scheme,
        m=elements,
        read_bytes=elements * read,
        write_bytes=elements * written,
        detail="cast",
        path=path,
    )
