"""Single calls of eager PyTorch on a CPU as kernels: a whole operation, or a pass that it makes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hwprofile.fuse_rules import FAMILY_OF, Sizes, sizes_of
from hwprofile.kernel import FLOAT_BYTES, SOFTMAX_FLOPS, Kernel
from hwprofile.layouts import is_row_major, is_strided, seems_contiguous, told
from hwprofile.record import OpCall, Record, Shape

RENAMED = {
    "square": "pow",
    "rsub": "sub",
    "selu": "elu",
    "relu6": "clamp",
    "hardtanh": "clamp",
    "clamp_min": "relu",
    "addmm": "linear",
    "mm": "linear",
    "mv": "linear",
    "bmm": "matmul",
    "baddbmm": "matmul",
    "avg_pool1d": "avg_pool2d",
    "norm": "linalg_vector_norm",
}
"""Operations that run as others."""
_CAST_FIRST = frozenset(
    {"add", "sub", "mul", "div", "pow", "rsub", "maximum", "minimum", "cumsum", "cumprod"}
)
"""Operations that copy integers into the type that they compute in."""
_ROWS_COPIED_FIRST = frozenset({"layer_norm", "softmax", "log_softmax", "im2col"})
"""Operations that copy an input that is not row-major."""
_IMAGES = """convolution group_norm max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d
    pixel_shuffle pixel_unshuffle channel_shuffle"""
_IMAGES_COPIED_FIRST = frozenset(_IMAGES.split())
"""Operations that copy an image that has gaps in the order that torch takes it to have."""


class Passes:
    """Makes the kernels of a record's calls under a scheme."""

    def __init__(self, record: Record, scheme: str) -> None:
        """Nothing is made yet.

        Args:
            record: A record traced in layout `nchw`.
            scheme: A float scheme of a CPU: `fp32`, `bf16` or `fp16`.
        """
        self.scheme, self.float_bytes = scheme, FLOAT_BYTES[scheme]
        self.itemsize = {
            i: self.float_bytes if dtype.is_floating_point else dtype.itemsize
            for i, dtype in zip(record.inputs, record.input_dtypes, strict=True)
        }
        """Bytes of an element, by tensor."""
        self.whole_numbers = {
            i
            for i, dtype in zip(record.inputs, record.input_dtypes, strict=True)
            if not dtype.is_floating_point
        }
        """Tensors of integers and truth values."""

    def enter(self, call: OpCall) -> None:
        """Note what a call makes, which later ones read."""
        for i, dtype in zip(call.outputs, call.output_dtypes, strict=True):
            floating = dtype.is_floating_point
            self.itemsize[i] = self.float_bytes if floating else dtype.itemsize
            if not floating:
                self.whole_numbers.add(i)

    def whole(self, call: OpCall, shape: Shape = ()) -> Kernel:
        """One call for the whole operation.

        Args:
            call: The operation.
            shape: Sizes of the main tensor read, where it is not the call's first.
        """
        sizes = sizes_of(call)
        weights = math.prod(call.output_shapes[0]) if call.op == "embedding" else 0
        weights = weights or sum([w.numel for w in call.weights])
        read = sum(
            math.prod(shape) * self.itemsize[i]
            for i, shape in dict(zip(call.inputs, call.input_shapes, strict=True)).items()
        )
        made = 1 if call.inplace else len(call.outputs)
        outs = zip(call.outputs[:made], call.output_shapes[:made], strict=True)
        written = sum(math.prod(shape) * self.itemsize[i] for i, shape in outs)
        moved = (read, weights * self.float_bytes, written)
        op = RENAMED.get(call.op, call.op)
        return self.kernel(call, op, sizes, moved, strided=is_strided(call), shape=shape)

    def kernel(
        self,
        call: OpCall,
        op: str,
        sizes: Sizes,
        moved: tuple[int, int, int],
        *,
        strided: bool,
        shape: Shape = (),
    ) -> Kernel:
        """A kernel that moves so many bytes: activations read, parameters read, written."""
        where = told(call, (op,), shape)
        where["strided"] = strided
        return Kernel(
            op=sizes.op,
            scheme=self.scheme,
            m=sizes.m,
            n=sizes.n,
            k=sizes.k,
            groups=sizes.groups,
            taps=sizes.taps,
            stride=sizes.stride,
            flops=sizes.flops,
            read_bytes=moved[0],
            weight_bytes=moved[1],
            write_bytes=moved[2],
            detail=op if op == call.op else f"{op} of {call.op}",
            path=call.path,
            **where,
        )

    def part(
        self,
        call: OpCall,
        op: str,
        read: int,
        written: int,
        *,
        strided: bool | None = None,
        shape: Shape = (),
    ) -> Kernel:
        """A pass over memory that reads and writes so many elements of the call's first input."""
        family = FAMILY_OF.get(op, "other")
        if op in ("fill", "zero"):
            read = 0
        size = self.itemsize[call.inputs[0]] if call.inputs else self.float_bytes
        size = max(size, self.itemsize[call.outputs[0]]) if op == "copy" else size
        sizes = Sizes(op=family, m=written, flops=written if family == "elementwise" else 0)
        if op == "sum":
            sizes = Sizes("reduce", written, max(read // max(written, 1), 1), flops=read)
        elif op == "softmax":
            n = (shape or call.output_shapes[0])[-1]
            sizes = Sizes("softmax", written // n, n, flops=written * SOFTMAX_FLOPS)
        if strided is None:
            strided = op == "copy" and is_strided(call)
        if not shape:
            same = call.input_shapes and math.prod(call.input_shapes[0]) == read
            shape = call.input_shapes[0] if same else call.output_shapes[0]
        moved = (read * size, 0, written * size)
        return self.kernel(call, op, sizes, moved, strided=strided, shape=shape)

    def copy(self, call: OpCall, shape: Shape) -> Kernel:
        """A copy into another order."""
        elements = math.prod(shape)
        return self.part(call, "copy", elements, elements, strided=True, shape=shape)

    def copied_first(self, call: OpCall) -> Iterator[Kernel]:
        """A copy of an operand that a call reads only in an order, or as a type, of its own."""
        if call.op in _CAST_FIRST and call.outputs[0] not in self.whole_numbers:
            for i, shape in zip(call.inputs, call.input_shapes, strict=True):
                if i in self.whole_numbers and shape:
                    yield self.copy(call, shape)
        rows = call.op in _ROWS_COPIED_FIRST
        if not rows and call.op not in _IMAGES_COPIED_FIRST:
            return
        shape, strides, _ = call.operands[0]
        if not (is_row_major(shape, strides) if rows else seems_contiguous(shape, strides)):
            yield self.copy(call, shape)

    def product(self, call: OpCall, shape: Shape, n: int) -> Kernel:
        """A batched product of `[..., m, k]` by `[..., k, n]`."""
        groups, m, k = math.prod(shape[:-2]), shape[-2], shape[-1]
        sizes = Sizes("gemm", m, n, k, groups, flops=2 * groups * m * n * k)
        size = self.float_bytes * groups
        moved = ((m * k + k * n) * size, 0, m * n * size)
        return self.kernel(call, "matmul", sizes, moved, strided=False, shape=shape)


def ends(call: OpCall) -> tuple[int, int]:
    """Elements that a call reads and writes."""
    written = math.prod(call.output_shapes[0])
    return sum([math.prod(s) for s in call.input_shapes]) or written, written
