"""From a record to the calls of eager PyTorch on a CPU, as its profiler lists them.

Most operations are one call. The others are made of several passes over memory, by the tables and
rules here, which were read off the profiler of torch 2.13 (`hwprofile.observed` checks them):

* A linear layer on rows that lie one after the other is one product with its bias. Otherwise the
  product and the bias are two calls, after a copy of rows that have no single stride (with weights
  that take gradients, as modules have them; torch then prefers a copy to a batched product).
* Batched products, norms and soft-max copy operands that are not in the order that they read.
* A mean is a sum and a division; of 16 bits it is computed in 32, with a cast before and after.
* Attention is one call where query, key and value are `[B, heads, rows, E]` with one `E`; else it
  is products, soft-max, and the passes that guard against rows without any key.
* A convolution of a channels-last image copies a dense weight into that order each time. One with
  groups that oneDNN does not serve is a convolution for each group, and their concatenation.
* A batch norm is a call of its own. Copies and fills count as passes over memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from hwprofile.fuse_rules import FAMILY_OF, Sizes, sizes_of
from hwprofile.kernel import FLOAT_BYTES, SOFTMAX_FLOPS, Kernel
from hwprofile.layouts import is_row_major, is_strided, layout_of, merges, told
from hwprofile.meta_shapes import spread
from hwprofile.onednn import served
from hwprofile.record import OpCall, Record, Shape

_COPIES = """reshape flatten view view_as unflatten contiguous clone to float half type_as repeat
    tile copy expand"""
PASSES: dict[str, tuple[str, ...]] = {
    "mean": ("sum", "div"),
    "pad": ("fill", "copy"),
    "constant_pad_nd": ("fill", "copy"),
    "stack": ("cat",),
    "softsign": ("abs", "add", "div"),
    **dict.fromkeys(_COPIES.split(), ("copy",)),
    **dict.fromkeys(("zeros_like", "new_zeros", "zeros"), ("zero",)),
    **dict.fromkeys(("ones_like", "new_ones", "ones", "full", "full_like", "new_full"), ("fill",)),
}
"""What an operation that is no call of its own is made of: each a pass over its elements."""
FREE = frozenset({"empty", "empty_like", "new_empty", "scalar_tensor", "arange", "linspace", "eye"})
"""What computes next to nothing: memory alone, or a few numbers."""
_RENAMED = {
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
_COPIED_FIRST = frozenset({"layer_norm", "softmax", "log_softmax", "rms_norm"})
"""Operations that copy an input that is not row-major."""
_IMAGES_COPIED_FIRST = frozenset({"convolution", "group_norm"})
"""Operations that copy an image that is neither row-major nor channels-last."""


def cpu_eager_kernels(record: Record, scheme: str = "fp32") -> Iterator[Kernel]:
    """The calls that run, in order.

    Args:
        record: A record traced in layout `nchw`.
        scheme: A float scheme of a CPU: `fp32`, `bf16` or `fp16`.
    """
    return _Calls(record, scheme).kernels()


class _Calls:
    """Takes a record's calls apart under a scheme."""

    def __init__(self, record: Record, scheme: str) -> None:
        self.record, self.scheme, self.float_bytes = record, scheme, FLOAT_BYTES[scheme]
        self.itemsize = {
            i: self.float_bytes if dtype.is_floating_point else dtype.itemsize
            for i, dtype in zip(record.inputs, record.input_dtypes, strict=True)
        }
        """Bytes of an element, by tensor."""
        self.rules: dict[str, Callable[[OpCall], Iterator[Kernel]]] = {
            "convolution": self._convolution,
            "rms_norm": self._rms_norm,
            "linear": self._linear,
            "addmm": self._one,
            "matmul": self._matmul,
            "bmm": self._one,
            "mean": self._mean,
            "adaptive_avg_pool1d": self._adaptive,
            "adaptive_avg_pool2d": self._adaptive,
            "roll": self._roll,
            "masked_fill": self._masked_fill,
            "scaled_dot_product_attention": self._attention,
        }

    def kernels(self) -> Iterator[Kernel]:
        """In the order of the calls."""
        for call in self.record.calls:
            made = zip(call.outputs, call.output_dtypes, strict=True)
            for i, dtype in made:
                floating = dtype.is_floating_point
                self.itemsize[i] = self.float_bytes if floating else dtype.itemsize
            if not call.view and call.op not in FREE:
                yield from self._steps(call)

    def _steps(self, call: OpCall) -> Iterator[Kernel]:
        rule = self.rules.get(call.op)
        if not call.inputs:
            yield from self._of_parameters(call)
        elif rule is not None:
            yield from rule(call)
        elif call.op in PASSES:
            passes = PASSES[call.op]
            if passes[0] == "fill" and call.output_shapes[0] in call.input_shapes:
                passes = passes[1:]
            for op in passes:
                yield self._pass(call, op, *self._ends(call))
        else:
            yield from self._copied_first(call)
            yield from self._one(call)

    def _of_parameters(self, call: OpCall) -> Iterator[Kernel]:
        """What runs for parameters and constants alone: passes over them."""
        written = math.prod(call.output_shapes[0])
        shape = call.weights[0].shape if call.weights else call.output_shapes[0]
        for op in PASSES.get(call.op, (_RENAMED.get(call.op, call.op),)):
            yield self._pass(call, op, math.prod(shape), written, strided=False, shape=shape)

    def _one(self, call: OpCall) -> Iterator[Kernel]:
        """One call for the whole operation."""
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
        yield self._kernel(
            call,
            _RENAMED.get(call.op, call.op),
            sizes,
            (read, weights * self.float_bytes, written),
            is_strided(call),
        )

    def _kernel(
        self,
        call: OpCall,
        op: str,
        sizes: Sizes,
        moved: tuple[int, int, int],
        strided: bool,
        shape: Shape = (),
    ) -> Kernel:
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

    def _pass(
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
        return self._kernel(call, op, sizes, (read * size, 0, written * size), strided, shape)

    def _copied_first(self, call: OpCall) -> Iterator[Kernel]:
        """A copy of an operand that a call reads only in an order of its own."""
        if call.op not in _COPIED_FIRST and call.op not in _IMAGES_COPIED_FIRST:
            return
        shape, strides = call.input_shapes[0], call.input_strides[0]
        image = call.op in _IMAGES_COPIED_FIRST and layout_of(shape, strides) == "nhwc"
        if not image and not is_row_major(shape, strides):
            yield self._copy(call, 0)

    def _convolution(self, call: OpCall) -> Iterator[Kernel]:
        yield from self._copied_first(call)
        shape = call.input_shapes[0]
        weight = call.weights[0].shape if len(call.inputs) == 1 else call.input_shapes[1]
        last = layout_of(shape, call.input_strides[0]) == "nhwc"
        if last and math.prod(weight[2:]) > 1 and weight[1] > 1:
            elements = math.prod(weight)
            yield self._pass(call, "copy", elements, elements, strided=True, shape=weight)
        (whole,) = self._one(call)
        parts = 1 if served(self.scheme) else whole.groups
        if parts == 1:
            yield whole
            return
        each = (shape[0], shape[1] // parts, *shape[2:])
        elements = math.prod(each)
        for _ in range(parts):
            if last or shape[0] > 1:
                yield self._pass(call, "copy", elements, elements, strided=True, shape=each)
            yield replace(
                whole,
                op="conv2d",
                groups=1,
                shape=each,
                flops=whole.flops // parts,
                read_bytes=whole.read_bytes // parts,
                weight_bytes=whole.weight_bytes // parts,
                write_bytes=whole.write_bytes // parts,
            )
        made = math.prod(call.output_shapes[0])
        yield self._pass(call, "cat", made, made, strided=False)

    def _rms_norm(self, call: OpCall) -> Iterator[Kernel]:
        yield from self._copied_first(call)
        elements = math.prod(call.input_shapes[0])
        if self.float_bytes == 2:
            yield self._pass(call, "copy", elements, elements)
        yield from self._one(call)
        if self.float_bytes == 2:
            yield self._pass(call, "copy", elements, elements)

    def _copy(self, call: OpCall, index: int) -> Kernel:
        elements = math.prod(call.input_shapes[index])
        return self._pass(call, "copy", elements, elements, strided=True)

    def _linear(self, call: OpCall) -> Iterator[Kernel]:
        shape, strides = call.input_shapes[0], call.input_strides[0]
        has_bias = len(call.weights) + len(call.inputs) > 2
        if (has_bias and (len(shape) <= 2 or is_row_major(shape, strides))) or len(shape) <= 2:
            yield from self._one(call)
            return
        if not merges(shape[:-1], strides[:-1]):
            yield self._copy(call, 0)
        yield from self._one(call)
        if has_bias:
            elements = math.prod(call.output_shapes[0])
            yield self._pass(call, "add", elements, elements)

    def _matmul(self, call: OpCall) -> Iterator[Kernel]:
        """Of activations, or of one with a constant of two dimensions or more."""
        ranks = [len(s) for s in call.input_shapes] + [len(w.shape) for w in call.weights]
        folded = min(ranks) <= 2
        if not folded:
            for index, (shape, strides) in enumerate(
                zip(call.input_shapes, call.input_strides, strict=True)
            ):
                if not merges(shape[:-2], strides[:-2]):
                    yield self._copy(call, index)
        (product,) = self._one(call)
        yield _renamed(product, "linear") if folded else product

    def _mean(self, call: OpCall) -> Iterator[Kernel]:
        read, written = math.prod(call.input_shapes[0]), math.prod(call.output_shapes[0])
        narrow = self.float_bytes == 2
        if narrow:
            yield self._pass(call, "copy", read, read)
        yield self._pass(call, "sum", read, written)
        yield self._pass(call, "div", written, written)
        # Narrowed, then put into the memory of the result.
        for _ in range(2 * narrow):
            yield self._pass(call, "copy", written, written)

    def _adaptive(self, call: OpCall) -> Iterator[Kernel]:
        if set(spread(call.attrs["output_size"], 1)) == {1}:
            return self._mean(call)
        return self._one(call)

    def _roll(self, call: OpCall) -> Iterator[Kernel]:
        for _ in spread(call.attrs["shifts"], 1):
            yield self._pass(call, "cat", *self._ends(call), strided=False)

    def _masked_fill(self, call: OpCall) -> Iterator[Kernel]:
        if not call.inplace:
            yield self._pass(call, "copy", *self._ends(call))
        yield from self._one(call)

    def _attention(self, call: OpCall) -> Iterator[Kernel]:
        shapes = call.input_shapes[:3]
        dense = all(strides[-1] == 1 for strides in call.input_strides[:3])
        if dense and {len(s) for s in shapes} == {4} and shapes[0][-1] == shapes[2][-1]:
            if len(call.inputs) > 3 and self.itemsize[call.inputs[3]] == 1:
                yield self._pass(call, "where", 0, shapes[0][-2] * shapes[1][-2])
            yield from self._one(call)
            return
        yield from self._attention_in_parts(call)

    def _attention_in_parts(self, call: OpCall) -> Iterator[Kernel]:
        query, key, value = call.input_shapes[:3]
        square, rows = (*query[:-1], key[-2]), (*query[:-1], 1)
        elements = math.prod(square)
        for shape in (query, key):
            yield self._pass(call, "mul", math.prod(shape), math.prod(shape), shape=shape)
        yield self._product(call, query, key[-2])
        if len(call.inputs) + len(call.weights) > 3:
            yield self._pass(call, "add", elements, elements, shape=square)
        for op in ("softmax", "eq"):
            yield self._pass(call, op, elements, elements, shape=square)
        yield self._pass(call, "all", elements, math.prod(rows), shape=square)
        yield self._pass(call, "where", elements, elements, shape=rows)
        yield self._product(call, square, value[-1])

    def _product(self, call: OpCall, shape: Shape, n: int) -> Kernel:
        groups, m, k = math.prod(shape[:-2]), shape[-2], shape[-1]
        sizes = Sizes("gemm", m, n, k, groups, flops=2 * groups * m * n * k)
        size = self.float_bytes * groups
        moved = ((m * k + k * n) * size, 0, m * n * size)
        return self._kernel(call, "matmul", sizes, moved, False, shape)

    def _ends(self, call: OpCall) -> tuple[int, int]:
        """Elements read and written."""
        written = math.prod(call.output_shapes[0])
        return sum([math.prod(s) for s in call.input_shapes]) or written, written


def _renamed(kernel: Kernel, op: str) -> Kernel:
    return replace(kernel, ops=(op,))
