"""What eager PyTorch runs on a CPU for `scaled_dot_product_attention`.

One call where its kernel serves the operands (`hwprofile.strides.fits_fused_attention`). Otherwise
query and key are scaled, multiplied, biased, and normalised with the passes that guard against rows
without any key; batched products copy operands whose leading dimensions have no single stride. Of
16 bits it is computed in 32, with casts of what it reads and makes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from hwprofile.cpu_passes import Passes
from hwprofile.kernel import Kernel
from hwprofile.layouts import merges
from hwprofile.record import OpCall, Operand
from hwprofile.strides import dense_strides, fits_fused_attention


def attention_kernels(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    """The calls for attention, in order."""
    query, key, value, *masks = call.operands
    mask = masks[0] if masks else None
    if mask is not None and _is_boolean(passes, call):
        elements = math.prod(mask.shape)
        yield passes.part(call, "where", elements, elements, strided=False, shape=mask.shape)
    fits = fits_fused_attention(
        query.shape,
        key.shape,
        value.shape,
        [operand.strides[-1] for operand in call.operands],
        None if mask is None else mask.shape,
        mask is not None and mask.trained,
    )
    if fits:
        yield passes.whole(call, query.shape)
    else:
        yield from _in_parts(passes, call, query, key, value)


def _is_boolean(passes: Passes, call: OpCall) -> bool:
    # A mask that is a constant counts as a bias: a record does not tell its type.
    return len(call.weights) == 0 and passes.itemsize[call.inputs[3]] == 1


def _in_parts(
    passes: Passes, call: OpCall, query: Operand, key: Operand, value: Operand
) -> Iterator[Kernel]:
    square, rows = (*query.shape[:-1], key.shape[-2]), (*query.shape[:-1], 1)
    elements, causal = math.prod(square), bool(call.attrs.get("is_causal"))
    narrow = passes.float_bytes == 2
    for shape, _, _ in (query, key, value)[: 3 * narrow]:
        yield passes.copy(call, shape)
    scaled = math.prod(query.shape)
    yield passes.part(call, "mul", scaled, scaled, shape=query.shape)
    if causal:
        plane = square[-2:]
        for op in ("fill", "tril", "where"):
            yield passes.part(call, op, math.prod(plane), math.prod(plane), shape=plane)
    scaled = math.prod(key.shape)
    yield passes.part(call, "mul", scaled, scaled, shape=key.shape)
    for shape, strides, _ in (query, key):
        if not merges(shape[:-2], dense_strides(shape, strides)[:-2]):
            yield passes.copy(call, shape)
    yield passes.product(call, query.shape, key.shape[-2])
    for mask in call.operands[3:]:
        if narrow:
            yield passes.copy(call, mask.shape)
    if causal or len(call.operands) > 3:
        yield passes.part(call, "add", elements, elements, shape=square)
    for op in ("softmax", "eq"):
        yield passes.part(call, op, elements, elements, shape=square)
    yield passes.part(call, "all", elements, math.prod(rows), shape=square)
    yield passes.part(call, "where", elements, elements, shape=rows)
    if narrow:
        yield passes.copy(call, square)
    if not merges(value.shape[:-2], value.strides[:-2]):
        yield passes.copy(call, value.shape)
    yield passes.product(call, square, value.shape[-1])
    if narrow:
        yield passes.copy(call, call.output_shapes[0])
