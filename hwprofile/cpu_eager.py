"""From a record to the calls of eager PyTorch on a CPU, as its profiler lists them.

Most operations are one call. The others are made of several passes over memory, by the tables and
rules here, which were read off the profiler of torch 2.13 (`hwprofile.observed` checks them):

* A linear layer on rows that lie one after the other is one product with its bias. Otherwise the
  product and the bias are two calls.
* A product with one matrix is a single product, after a copy of rows that have no single stride,
  if the matrix takes gradients, as parameters do; with others torch prefers a batched product.
* Batched products, norms, pools and soft-max copy operands that are not in the order that they
  read.
* A mean is a sum and a division; of 16 bits it is computed in 32, with a cast before and after.
* Attention and convolutions have files of their own (`cpu_attention`, `cpu_convolution`).
* A batch norm is a call of its own. Copies and fills count as passes over memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from hwprofile.cpu_attention import attention_kernels
from hwprofile.cpu_convolution import convolution_kernels
from hwprofile.cpu_passes import RENAMED, Passes, ends
from hwprofile.kernel import Kernel
from hwprofile.layouts import is_row_major, merges
from hwprofile.meta_shapes import spread
from hwprofile.record import OpCall, Operand, Record, Shape
from hwprofile.strides import dense_strides

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


def cpu_eager_kernels(record: Record, scheme: str = "fp32") -> Iterator[Kernel]:
    """The calls that run, in order.

    Args:
        record: A record traced in layout `nchw`.
        scheme: A float scheme of a CPU: `fp32`, `bf16` or `fp16`.
    """
    passes = Passes(record, scheme)
    for call in record.calls:
        passes.enter(call)
        if not call.view and call.op not in FREE:
            yield from _steps(passes, call)


def _steps(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    rule = _RULES.get(call.op)
    if not call.inputs:
        yield from _of_parameters(passes, call)
    elif rule is not None:
        yield from rule(passes, call)
    elif call.op in PASSES:
        for op in PASSES[call.op]:
            yield passes.part(call, op, *ends(call))
    else:
        yield from _one(passes, call)


def _of_parameters(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    """What runs for parameters and constants alone: passes over them."""
    written = math.prod(call.output_shapes[0])
    shape = call.weights[0].shape if call.weights else call.output_shapes[0]
    for op in PASSES.get(call.op, (RENAMED.get(call.op, call.op),)):
        yield passes.part(call, op, math.prod(shape), written, strided=False, shape=shape)


def _one(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    yield from passes.copied_first(call)
    yield passes.whole(call)


def _rms_norm(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    shape, strides = call.input_shapes[0], call.input_strides[0]
    elements = math.prod(shape)
    if passes.float_bytes == 2:
        yield passes.part(call, "copy", elements, elements)
    yield passes.whole(call)
    # The result, which is computed in the order of the input.
    if not is_row_major(shape, dense_strides(shape, strides)):
        yield passes.copy(call, shape)
    if passes.float_bytes == 2:
        yield passes.part(call, "copy", elements, elements)


def _linear(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    rows, weight = call.operands[:2]
    has_bias = len(call.operands) > 2
    if len(rows.shape) <= 2 or (has_bias and is_row_major(rows.shape, rows.strides)):
        yield passes.whole(call)
        return
    yield from _multiplied(passes, call, rows, _turned(weight))
    if has_bias:
        elements = math.prod(call.output_shapes[0])
        yield passes.part(call, "add", elements, elements)


def _matmul(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    return _multiplied(passes, call, *call.operands[:2])


def _multiplied(passes: Passes, call: OpCall, left: Operand, right: Operand) -> Iterator[Kernel]:
    """Folded into one product where one side is a matrix that allows it, else batched."""
    ranks = (len(left.shape), len(right.shape))
    if max(ranks) > 2 and not _folds(left, right):
        yield from _batched(passes, call, left, right)
        return
    swapped = ranks[1] > max(ranks[0], 2)
    tall = _turned(right) if swapped else left
    if max(ranks) > 2 and not merges(tall.shape[:-1], tall.strides[:-1]):
        yield passes.copy(call, tall.shape)
    yield replace(passes.whole(call, tall.shape), ops=("linear",))
    if swapped:
        yield passes.copy(call, call.output_shapes[0])


def _folds(left: Operand, right: Operand) -> bool:
    """Whether torch sees a batched product with one matrix as a single product."""
    larger, matrix = (
        (left, right) if len(left.shape) >= len(right.shape) else (_turned(right), left)
    )
    if len(larger.shape) < 3 or len(matrix.shape) > 2:
        return False
    if matrix.trained:
        return True
    return len(left.shape) != 2 and merges(larger.shape[:-1], larger.strides[:-1])


def _turned(operand: Operand) -> Operand:
    """The last two dimensions exchanged."""
    shape, strides, trained = operand
    turned = (*shape[:-2], shape[-1], shape[-2]), (*strides[:-2], strides[-1], strides[-2])
    return Operand(*turned, trained)


def _batched(passes: Passes, call: OpCall, left: Operand, right: Operand) -> Iterator[Kernel]:
    out = call.output_shapes[0]
    batch = out[: max(len(left.shape), len(right.shape)) - 2]
    first = left.shape
    for place, (shape, strides, _) in enumerate((left, right)):
        rows = shape[-2:] if len(shape) > 1 else (*shape, 1)
        full = (*batch, *rows)
        if place == 0:
            first = full
        if not merges(batch, _spread_strides(batch, shape[:-2], strides[:-2])):
            yield passes.copy(call, full)
    yield replace(passes.whole(call, first), ops=("matmul",))


def _spread_strides(batch: Shape, shape: Shape, strides: Shape) -> Shape:
    """Strides of leading dimensions spread to those of a batch."""
    missing = len(batch) - len(shape)
    spreads = [n != wide for n, wide in zip(shape, batch[missing:], strict=True)]
    own = [0 if spread_out else s for spread_out, s in zip(spreads, strides, strict=True)]
    return (*(0,) * missing, *own)


def _mean(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    read, written = math.prod(call.input_shapes[0]), math.prod(call.output_shapes[0])
    narrow = passes.float_bytes == 2
    if narrow:
        yield passes.part(call, "copy", read, read)
    yield passes.part(call, "sum", read, written)
    yield passes.part(call, "div", written, written)
    # Narrowed, then put into the memory of the result.
    for _ in range(2 * narrow):
        yield passes.part(call, "copy", written, written)


def _adaptive(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    if set(spread(call.attrs["output_size"], 1)) == {1}:
        return _mean(passes, call)
    return _one(passes, call)


def _pad(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    kind = _PADS.get(str(call.attrs.get("mode", "constant")))
    if kind is None:
        if call.output_shapes[0] != call.input_shapes[0]:
            yield passes.part(call, "fill", *ends(call))
        yield passes.part(call, "copy", *ends(call))
        return
    rank = len(spread(call.attrs["pad"], 1)) // 2
    yield replace(passes.part(call, "pad", *ends(call)), ops=(f"{kind}_pad{rank}d",))


def _type_as(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    if passes.itemsize[call.inputs[0]] != passes.itemsize[call.outputs[0]]:
        yield passes.part(call, "copy", *ends(call))


def _roll(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    for _ in spread(call.attrs["shifts"], 1):
        yield passes.part(call, "cat", *ends(call), strided=False)


def _masked_fill(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    if not call.inplace:
        yield passes.part(call, "copy", *ends(call))
    yield passes.whole(call)


def _cumulated(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    read, made = call.inputs[0], call.outputs[0]
    if made in passes.whole_numbers and passes.itemsize[read] != passes.itemsize[made]:
        yield passes.copy(call, call.input_shapes[0])
    yield from _one(passes, call)


_PADS = {"reflect": "reflection", "replicate": "replication"}
_RULES: dict[str, Callable[[Passes, OpCall], Iterator[Kernel]]] = {
    "convolution": convolution_kernels,
    "rms_norm": _rms_norm,
    "linear": _linear,
    "matmul": _matmul,
    "mean": _mean,
    "adaptive_avg_pool1d": _adaptive,
    "adaptive_avg_pool2d": _adaptive,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "roll": _roll,
    "type_as": _type_as,
    "masked_fill": _masked_fill,
    "cumsum": _cumulated,
    "cumprod": _cumulated,
    "scaled_dot_product_attention": attention_kernels,
}
