"""What torch itself says it ran on this machine's CPU, to hold the rules of runtimes against.

`ran` reads the profiler; `compiled` reads the code that TorchInductor generates. Names are brought
to those of a record's operations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from hwprofile.kernel import Kernel
from hwprofile.runtime import CPU_LIBRARY


class Ran(NamedTuple):
    """One operation that computed or copied something."""

    op: str
    """Its name in a record."""
    elements: int
    """Elements of the first tensor of two dimensions or more that it was given; 0 for a list."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NAMES = {
    "mkldnn_convolution": "convolution",
    "_slow_conv2d_forward": "convolution",
    "slow_conv3d_forward": "convolution",
    "slow_conv_transpose2d": "convolution",
    "slow_conv_dilated2d": "convolution",
    "addmm": "linear",
    "mm": "linear",
    "mv": "linear",
    "bmm": "matmul",
    "baddbmm": "matmul",
    "native_batch_norm": "batch_norm",
    "_native_batch_norm_legit_no_training": "batch_norm",
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
    "_fused_rms_norm": "rms_norm",
    "_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "log_sigmoid_forward": "log_sigmoid",
    "_prelu_kernel": "prelu",
    "max_pool2d_with_indices": "max_pool2d",
    "_adaptive_avg_pool2d": "adaptive_avg_pool2d",
    "_scaled_dot_product_flash_attention_for_cpu": "scaled_dot_product_attention",
    "clamp_min": "relu",
    "relu6": "clamp",
    "hardtanh": "clamp",
    "square": "pow",
    "rsub": "sub",
    "selu": "elu",
    "isneginf": "eq",
    "index_select": "embedding",
    "repeat": "copy",
    "native_channel_shuffle": "channel_shuffle",
}
_FREE = _names("""
    empty empty_strided empty_like new_empty as_strided view view_as reshape_as _unsafe_view reshape
    _reshape_alias t transpose permute expand expand_as slice select narrow squeeze unsqueeze unbind
    split split_with_sizes chunk resize resize_as detach alias contiguous clone dropout
    feature_dropout result_type is_nonzero lift_fresh lift resolve_conj resolve_neg set unfold
    unflatten flatten to _to_copy type_as movedim swapaxes tensor_split broadcast_tensors
    broadcast_to item _local_scalar_dense size numel diagonal adjoint mT H numpy_T real meshgrid
    scalar_tensor arange linspace eye _nnpack_available _has_compatible_shallow_copy_type
""")
"""What computes nothing, or a few numbers; copies that they make are their children."""
_COMPOSITE = _names("""
    conv1d conv2d conv3d convolution _convolution _convolution_mode conv_transpose1d
    conv_transpose2d thnn_conv2d slow_conv3d linear matmul einsum tensordot batch_norm
    _batch_norm_impl_index layer_norm group_norm instance_norm rms_norm softmax log_softmax
    _safe_softmax mean adaptive_avg_pool1d adaptive_avg_pool2d max_pool2d avg_pool1d relu relu6
    hardtanh square rsub selu normalize scaled_dot_product_attention
    _scaled_dot_product_attention_math pad constant_pad_nd stack roll tile log_sigmoid softsign
    prelu norm linalg_norm masked_fill index_select logsumexp ones zeros ones_like zeros_like full
    full_like new_zeros new_ones new_full true_divide concat concatenate multiply divide subtract
    channel_shuffle float half repeat_interleave type outer
""")
"""What is made of others."""
_ALONE = _names("""
    addmm mm mv bmm baddbmm cat repeat _slow_conv2d_forward slow_conv3d_forward upsample_bilinear2d
    upsample_nearest2d upsample_bicubic2d slow_conv_dilated2d
""")
"""What copies as part of its work."""


def ran(module: nn.Module, *inputs: torch.Tensor) -> list[Ran]:
    """The operations of one forward pass, in order, each with the copies that it made first."""
    with torch.inference_mode():
        module(*inputs)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
            module(*inputs)
    tops = [event for event in profiler.events() or () if event.cpu_parent is None]
    return [found for event in tops for found in _leaves(event)]


def _leaves(event: Any) -> Iterator[Ran]:
    below = [found for child in event.cpu_children for found in _leaves(child)]
    space, _, full = event.name.partition("::")
    name = full.rstrip("_")
    if space != "aten" or name in _FREE or full in _COMPOSITE:
        yield from below
        # oneDNN's transposed convolution has no event of its own.
        if full == "_convolution" and not any(found.op == "convolution" for found in below):
            yield Ran("convolution", _elements(event.input_shapes))
        return
    op = _NAMES.get(name, name)
    if name not in _ALONE:
        yield from (found for found in below if found.op == "copy")
    # A number that joins tensors is made one first.
    if op not in ("copy", "fill") or any(event.input_shapes):
        yield Ran(op, _elements(event.input_shapes))


def _elements(shapes: Sequence[Sequence[int]]) -> int:
    """Of the first tensor with two dimensions or more, else of the first with one."""
    known = [shape for shape in shapes if all(isinstance(n, int) for n in shape)]
    for rank in (2, 1):
        for shape in known:
            if len(shape) >= rank:
                return math.prod(shape)
    return 0


class Launched(NamedTuple):
    """One call of a compiled network: of a library, or of a generated function."""

    call: str
    """Operation that a library performs; empty for a generated function."""
    ops: frozenset[str]
    """What a library does to its result, or what a function computes; copies are not told."""


def compiled(module: nn.Module, *inputs: torch.Tensor) -> list[Launched]:
    """What TorchInductor generates for a forward pass with weights frozen, in order.

    Its C++ is not compiled: functions are replaced by ones that do nothing, as the calls are in the
    Python around them.
    """
    import torch._inductor.config as config
    from torch._inductor.async_compile import AsyncCompile
    from torch._inductor.utils import run_and_get_code

    torch._dynamo.reset()
    with (
        config.patch(freezing=True, compile_threads=1, force_disable_caches=True),
        patch.object(AsyncCompile, "cpp_pybinding", lambda *_: lambda *_: None),
        torch.no_grad(),
    ):
        _, sources = run_and_get_code(torch.compile(module), *inputs)
    return [found for source in sources for found in read_calls(source)]


def read_calls(source: str) -> Iterator[Launched]:
    """The calls in the Python that TorchInductor generates around its functions."""
    body = source[source.rindex("def call(") :]
    lines = [line for line in map(str.strip, body.splitlines()) if _CALL.search(line)]
    for position, line in enumerate(lines):
        name = _CALL.search(line).group(1)  # type: ignore[union-attr]
        if not name.startswith("cpp_fused_"):
            yield Launched(_library(name), frozenset(_QUOTED.findall(line)) & _EPILOGUES)
            continue
        ops = frozenset(_NAMES.get(op, op) for op in _split(name)) - _UNTOLD
        arguments = line[line.index("(") + 1 : -1].split(", ")
        following = lines[position + 1] if position + 1 < len(lines) else ""
        # The copy of a given image is called after the convolution that reads it.
        if len(arguments) == 2 and arguments[0].startswith("arg") and "_convolution" in following:
            ops = frozenset()
        yield Launched("", ops)


def agreeing(rules: Sequence[Launched], code: Sequence[Launched]) -> int:
    """How many calls the rules have in common with the code, in order.

    A library's call is the same with the same epilogue. A function is the same if it is named after
    all that the rules have it compute: the name may tell more, as it also has operations whose
    results it reads.
    """
    best = [0] * (len(code) + 1)
    for rule in rules:
        row = [0]
        for position, found in enumerate(code):
            same = rule.call == found.call and (
                rule.ops == found.ops if rule.call else rule.ops <= found.ops
            )
            row.append(max(best[position + 1], row[position], best[position] + same))
        best = row
    return best[-1]


def launched(kernels: Iterable[Kernel]) -> list[Launched]:
    """The same from the kernels of `cpu-inductor`, but for additions after a linear layer.

    The bias of one is such an addition and is not told in the function's name.
    """
    found: list[Launched] = []
    after_linear = False
    for kernel in kernels:
        library = [op for op in kernel.ops if op in CPU_LIBRARY]
        ops = frozenset(_CALLED.get(op, op) for op in kernel.ops if op not in CPU_LIBRARY) - _UNTOLD
        if library:
            found.append(Launched(_CALLED.get(library[0], library[0]), ops))
            after_linear = found[-1].call == "linear"
            continue
        if after_linear:
            ops -= {"add"}
        if kernel.joined:
            found[-1] = Launched("", found[-1].ops | ops)
        else:
            found.append(Launched("", ops))
    return found


_CALL = re.compile(
    r"\b(cpp_fused_\w+|extern_kernels\.\w+|torch\.ops\.(?:mkldnn|mkl|aten)\.\w+)(?:\.\w+)?\("
)
_QUOTED = re.compile(r"'(\w+)'")
_EPILOGUES = _names("""
    add sub relu sigmoid tanh gelu swish hardswish hardsigmoid hardtanh leaky_relu
""")
_UNTOLD = _names("""
    copy clone view permute unsqueeze squeeze expand transpose slice select split split_with_sizes
    as_strided _unsafe_view unbind t convolution addmm mm bmm linear reshape flatten contiguous
    alias _to_copy lift_fresh_copy full zeros arange to type_as float unfold
""")
"""What moves or makes a tensor, and what a function only makes ready for a library."""
_LIBRARY = {
    "_convolution_pointwise": "convolution",
    "_convolution_pointwise_": "convolution",
    "_convolution_transpose_pointwise": "convolution",
    "_linear_pointwise": "linear",
    "_mkl_linear": "linear",
    "convolution": "convolution",
}
_CALLED = {
    "addmm": "linear",
    "mm": "linear",
    "mv": "linear",
    "bmm": "matmul",
    "baddbmm": "matmul",
    "silu": "swish",
    "relu6": "hardtanh",
    "pad": "constant_pad_nd",
    "square": "pow",
    "rsub": "sub",
    "adaptive_avg_pool2d": "mean",
    "adaptive_avg_pool1d": "mean",
}


def _library(name: str) -> str:
    short = name.rsplit(".", 1)[-1]
    return _LIBRARY.get(short) or _NAMES.get(short, short)


def _split(name: str) -> Iterator[str]:
    """The operations in the name of a generated function."""
    words = name.removeprefix("cpp_fused_").split("_")[:-1]
    known = {full.removeprefix("aten::").split(".")[0] for full in _dispatched()}
    start = 0
    while start < len(words):
        ends = range(len(words), start, -1)
        end = next((e for e in ends if "_".join(words[start:e]) in known), start + 1)
        yield "_".join(words[start:end])
        start = end


@cache
def _dispatched() -> frozenset[str]:
    return frozenset(n for n in torch._C._dispatch_get_all_op_names() if n.startswith("aten::"))
