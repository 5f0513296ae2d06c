"""From a record to what TorchInductor runs, on CUDA and on a CPU with weights frozen.

On CUDA convolutions, products and attention are calls of cuDNN, cuBLAS and torch's own kernels; all
else is generated and joins as `hwprofile.launches` has it. Biases of convolutions are generated
additions, and so are those of linear layers that elementwise operations alone read. No batch norm
folds, as weights are no constants.

On a CPU with `torch._inductor.config.freezing` on, weights are constants: batch norms, scales and
shifts fold into the convolution before, and weights are packed for oneDNN and MKL. Then:

* Convolutions of images are oneDNN's, channels-last, and do one elementwise function of a list, or
  an addition and a ReLU, before they write.
* Linear layers are MKL's in 32 bits, their biases additions of their own, and oneDNN's in 16, with
  the same functions as a convolution or an addition. Where oneDNN does not serve 16 bits, products
  and convolutions are torch's own kernels, with a bias alone.
* Batched products, attention and what has no decomposition are calls of torch's own kernels.
* All else is generated: operations join one loop nest, and the loop nests between two calls of
  libraries are one C++ function, called once.
* An image that the network is given is row-major; the first convolution has it copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from hwprofile.fuse import fuse
from hwprofile.fuse_rules import FAMILY_OF, GRAPH_RULES, PROLOGUE, Epilogue, FuseRules
from hwprofile.kernel import FLOAT_BYTES, Kernel
from hwprofile.onednn import served
from hwprofile.record import OpCall, Record
from hwprofile.runtime import CPU_LIBRARY, Runtime

_UNARY = frozenset(
    {
        "relu",
        "relu6",
        "sigmoid",
        "tanh",
        "gelu",
        "silu",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "leaky_relu",
    }
)
_CONVOLUTION = Epilogue(unary=_UNARY, binary=frozenset({"add", "sub"}), after=frozenset({"relu"}))
_LINEAR = Epilogue(unary=_UNARY, binary=frozenset({"add", "sub"}))
_FOLDS = frozenset({"batch_norm", "mul", "add", "sub", "div"})
_INTO = frozenset({"convolution"})
CPU_RULES: dict[str, FuseRules] = {
    name: FuseRules(prologue=PROLOGUE | {"copy"}, folds=_FOLDS, into=_INTO, epilogues=epilogues)
    for name, epilogues in {
        "fp32": {"convolution": _CONVOLUTION},
        "16 bits": {"convolution": _CONVOLUTION, "linear": _LINEAR},
        "16 bits, not served": {},
    }.items()
}
"""On a CPU: in 32 bits, in 16, and in 16 where oneDNN does not serve them."""
CUDA_RULES = FuseRules(
    prologue=PROLOGUE | {"copy"}, folds=frozenset(), into=frozenset(), epilogues={}
)
"""On CUDA: products have no epilogue and no prologue."""


def rules_of(runtime: Runtime, scheme: str) -> FuseRules | None:
    """What joins what in a runtime; None where nothing does."""
    if not runtime.fuses:
        return None
    match runtime.name:
        case "inductor":
            return CUDA_RULES
        case "cpu-inductor":
            return CPU_RULES[_cpu_rules(scheme)]
        case _:
            return GRAPH_RULES


def inductor_kernels(record: Record, scheme: str = "fp16") -> tuple[Kernel, ...]:
    """The kernels that launch on CUDA, in order.

    Args:
        record: A record traced in layout `nhwc`.
        scheme: A float scheme, in which all tensors are: no autocast.
    """
    record = without_empty_pads(record)
    pointwise = _pointwise_alone(record)
    split = with_biases_apart(record, lambda call: call.op == "convolution" or pointwise(call))
    return fuse(split, scheme, CUDA_RULES)


def cpu_inductor_kernels(
    record: Record, scheme: str = "fp32", *, within: bool = False
) -> Iterator[Kernel]:
    """The library calls and loop nests that run, in order.

    Args:
        record: A record traced in layout `nhwc`.
        scheme: A float scheme of a CPU: `fp32`, `bf16` or `fp16`.
        within: Whether the record is a part of a network, whose images come channels-last.
    """
    rules = CPU_RULES[_cpu_rules(scheme)]
    generated = False
    copies = () if within else _copies(record, scheme)
    split = without_empty_pads(record)
    if scheme == "fp32":
        split = with_biases_apart(split, lambda call: call.op != "convolution")
    for kernel in (*copies, *fuse(split, scheme, rules, tell_ops=True)):
        called = not CPU_LIBRARY.isdisjoint(kernel.ops)
        if "convolution" in kernel.ops and len(kernel.shape) == 4:
            # What makes its image writes it channels-last, however eager torch would have it.
            kernel = replace(kernel, layout="nhwc", strided=False)
        yield replace(kernel, joined=True) if generated and not called else kernel
        generated = not called


def _cpu_rules(scheme: str) -> str:
    if scheme == "fp32":
        return "fp32"
    return "16 bits" if served(scheme) else "16 bits, not served"


def without_empty_pads(record: Record) -> Record:
    """A record in which padding by nothing is no call of its own, but a view."""
    calls = tuple(
        replace(call, view=True)
        if call.op in ("pad", "constant_pad_nd") and call.output_shapes == call.input_shapes
        else call
        for call in record.calls
    )
    return replace(record, calls=calls)


def with_biases_apart(record: Record, split: Callable[[OpCall], bool]) -> Record:
    """A record in which chosen products have no bias, but are followed by its addition.

    Args:
        record: Any record.
        split: Whether to take a product with a bias apart.
    """
    calls: list[OpCall] = []
    fresh = 1 + max([i for call in record.calls for i in call.outputs], default=0)
    for call in record.calls:
        biased = call.op in ("convolution", "linear", "addmm") and len(call.weights) > 1
        if not biased or not split(call):
            calls.append(call)
            continue
        bias = min(call.weights, key=lambda weight: weight.numel)
        weights = tuple(weight for weight in call.weights if weight is not bias)
        calls.append(replace(call, outputs=(fresh,), weights=weights))
        added = replace(
            call,
            op="add",
            inputs=(fresh,),
            input_shapes=call.output_shapes,
            input_strides=call.output_strides,
            weights=(bias,),
            attrs={},
            macs=0,
        )
        calls.append(added)
        fresh += 1
    return replace(record, calls=tuple(calls))


def _pointwise_alone(record: Record) -> Callable[[OpCall], bool]:
    """Whether elementwise operations alone read a call's result, through whatever views."""
    readers: dict[int, list[OpCall]] = {}
    for call in record.calls:
        for i in call.inputs:
            readers.setdefault(i, []).append(call)

    def asked(call: OpCall) -> bool:
        if not set(call.outputs).isdisjoint(record.outputs):
            return False
        return all(
            asked(reader) if reader.view else FAMILY_OF.get(reader.op) == "elementwise"
            for i in call.outputs
            for reader in readers.get(i, ())
        )

    return asked


def _copies(record: Record, scheme: str) -> Iterator[Kernel]:
    """One for each row-major image that a convolution reads as it was given."""
    for i, shape in zip(record.inputs, record.input_shapes, strict=True):
        read = any(call.op == "convolution" and i in call.inputs for call in record.calls)
        if len(shape) == 4 and shape[1] > 1 and math.prod(shape[2:]) > 1 and read:
            elements = math.prod(shape)
            yield Kernel(
                op="copy",
                scheme=scheme,
                m=elements,
                read_bytes=elements * FLOAT_BYTES[scheme],
                write_bytes=elements * FLOAT_BYTES[scheme],
                ops=("copy",),
                layout="nchw",
                shape=shape,
                strided=True,
                detail="copy to channels-last",
            )
