"""Single operations as torch dispatches them: taken down from a module on meta tensors, run alone.

A module's forward on meta tensors computes nothing and costs a fraction of a millisecond a call;
each call that it makes can then be made again with real tensors of the same sizes and strides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hwprofile.kernel import Kernel
from hwprofile.op_rules import rule_of
from hwprofile.runtime import Runtime, launches
from hwprofile.trace import TraceError, trace

_DTYPES = {
    "float": None,
    "int64": torch.int64,
    "bool": torch.bool,
    "complex64": torch.complex64,
}
"""Element types of a call's tensors by name; `float` is the precision it is run in."""
_LEFT_OUT = frozenset({"device", "dtype", "layout", "pin_memory"})


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor that a call takes."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str
    """A name of `_DTYPES`."""
    weight: bool
    """Whether it is a parameter rather than an activation."""


@dataclass(frozen=True, slots=True)
class OneCall:
    """One operation with its arguments. Equal calls take the same time."""

    name: str
    """torch's name with the overload, such as `aten.conv2d.default`."""
    args: tuple[Any, ...]
    """Positional arguments: operands, tuples of them, and plain values."""
    kwargs: tuple[tuple[str, Any], ...]
    """Named ones."""

    @property
    def function(self) -> Callable[..., Any]:
        """What torch runs."""
        return _function(self.name)

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Tensors, in the order of the arguments."""
        return tuple(_operands((self.args, [value for _, value in self.kwargs])))

    def mapped(self, change: Callable[[Operand], Operand]) -> OneCall:
        """The call with other operands."""

        def changed(x: Any) -> Any:
            return change(x) if _is(x) else x

        named = tuple((name, _mapped(changed, value)) for name, value in self.kwargs)
        return OneCall(self.name, _mapped(changed, self.args), named)


def calls_of(module: nn.Module, inputs: Sequence[Tensor]) -> list[OneCall]:
    """Calls that a module on the meta device makes at inference, in order.

    Views are left out, and calls that take more than tensors, numbers and texts.

    Args:
        module: in evaluation mode; parameters and buffers are its weights.
        inputs: on the meta device.
    """
    recorder = _Recorder({id(x) for x in (*module.parameters(), *module.buffers())})
    with torch.inference_mode(), recorder:
        module(*inputs)
    return recorder.calls


@dataclass(slots=True)
class Replay:
    """A call with tensors of its own, to be made again and again."""

    run: Callable[[], Any]
    """Makes the call."""
    touch: Callable[[], Any]
    """Writes the activations that it reads, as the operation before it in a network does."""
    nbytes: int
    """Memory that its tensors take."""


def replay_of(call: OneCall, dtype: torch.dtype, seed: int = 0) -> Replay:
    """The call with tensors of its own.

    Args:
        call: what to run.
        dtype: of its floating-point tensors.
        seed: of their values.
    """
    function = call.function

    def bound(args: tuple[Any, ...], **kwargs: Any) -> Callable[[], Any]:
        return lambda: function(*args, **kwargs)

    return with_tensors(call, dtype, seed, bound)


def with_tensors(
    call: OneCall, dtype: torch.dtype, seed: int, bind: Callable[..., Callable[[], Any]]
) -> Replay:
    """A call whose tensors are handed to `bind(args, **kwargs)`, which says how it is made."""
    generator = torch.Generator().manual_seed(seed)
    writes = rule_of(call.function).writes  # type: ignore[arg-type]
    tensors: dict[Operand, Tensor] = {}
    for place, operand in enumerate(call.operands):
        if operand not in tensors:
            # What is added or multiplied in place again and again must not drift.
            ones = writes and place > 0
            tensors[operand] = _tensor(operand, dtype, generator, ones=ones)

    def filled(x: Any) -> Any:
        return tensors[x] if _is(x) else x

    args = _mapped(filled, call.args)
    kwargs = {name: _mapped(filled, value) for name, value in call.kwargs}
    # The memory rather than the tensor, whose elements may share theirs.
    activations = [
        x.as_strided((_span(operand),), (1,))
        for operand, x in tensors.items()
        if not operand.weight and x.is_floating_point()
    ]

    def touch() -> None:
        for x in activations:
            x.mul_(1.0)

    nbytes = sum(_bytes(operand, dtype) for operand in tensors)
    return Replay(run=bind(args, **kwargs), touch=touch, nbytes=nbytes)


def kernels_of(call: OneCall, runtime: Runtime, scheme: str) -> tuple[Kernel, ...]:
    """What a runtime launches for a call; nothing where a trace does not serve it.

    Args:
        call: the operation.
        runtime: what runs it.
        scheme: its precision.
    """
    shapes = [torch.empty(_span(x), dtype=_meta_type(x), device="meta") for x in _given(call)]
    try:
        record = trace(_One(call), *shapes, layout=runtime.layout)
    except TraceError:
        return ()
    return launches(record, runtime, scheme)


def as_json(call: OneCall) -> list[Any]:
    """The call as plain values that `from_json` reads."""

    def plain(x: Any) -> Any:
        if _is(x):
            return {"t": [x.shape, x.stride, x.dtype, x.weight]}
        return [plain(y) for y in x] if isinstance(x, tuple) else x

    return [call.name, plain(call.args), {name: plain(value) for name, value in call.kwargs}]


def from_json(values: Sequence[Any]) -> OneCall:
    """The call that `as_json` wrote."""

    def typed(x: Any) -> Any:
        if isinstance(x, dict):
            shape, stride, dtype, weight = x["t"]
            return Operand(tuple(shape), tuple(stride), dtype, weight)
        return tuple(typed(y) for y in x) if isinstance(x, list) else x

    name, args, kwargs = values
    return OneCall(name, typed(args), tuple((key, typed(x)) for key, x in kwargs.items()))


class _One(nn.Module):
    """Makes one call; its inputs are the memory of the activations."""

    def __init__(self, call: OneCall) -> None:
        super().__init__()
        self.call = call
        self.weights: dict[Operand, str] = {}
        for operand in call.operands:
            if operand.weight and operand not in self.weights:
                name = self.weights[operand] = f"weight{len(self.weights)}"
                memory = torch.empty(_span(operand), dtype=_meta_type(operand), device="meta")
                self.register_buffer(name, memory.as_strided(operand.shape, operand.stride))

    def forward(self, *memories: Tensor) -> Any:
        """Make the call."""
        given = dict(zip(_given(self.call), memories, strict=True))

        def filled(x: Any) -> Any:
            if not _is(x):
                return x
            if x.weight:
                return getattr(self, self.weights[x])
            return given[x].as_strided(x.shape, x.stride)

        args = _mapped(filled, self.call.args)
        kwargs = {name: _mapped(filled, value) for name, value in self.call.kwargs}
        return self.call.function(*args, **kwargs)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes down calls as `hwprofile.trace` cuts them, each with its strides."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = weights
        self.made: list[Any] = []
        """Results stay alive, lest an `id` be used twice."""
        self.calls: list[OneCall] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        rule, kwargs = rule_of(func), kwargs or {}
        if rule.meaning is not None:
            with self:
                return rule.meaning(*args, **kwargs)
        if rule.decompose:
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        self.made.append(out)
        tensors = [x for x in _leaves((args, kwargs)) if isinstance(x, Tensor)]
        if tensors and all(id(x) in self.weights for x in tensors):
            self.weights.update(id(x) for x in _leaves(out) if isinstance(x, Tensor))
        elif tensors and not rule.drops and (rule.writes or not _views(out, tensors)):
            described = {name: self._described(x) for name, x in kwargs.items()}
            kept = tuple((name, x) for name, x in described.items() if name not in _LEFT_OUT)
            call = OneCall(_name(func), self._described(tuple(args)), kept)
            if all(_plain(x) for x in _leaves((call.args, [x for _, x in kept]))):
                self.calls.append(call)
        return out

    def _described(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            dtype = "float" if x.is_floating_point() else str(x.dtype).removeprefix("torch.")
            return Operand(tuple(x.shape), x.stride(), dtype, id(x) in self.weights)
        return tuple(self._described(y) for y in x) if isinstance(x, (list, tuple)) else x


def _views(out: Any, tensors: Sequence[Tensor]) -> bool:
    """Whether a result is its argument's memory, seen otherwise."""
    given = {x.untyped_storage()._cdata for x in tensors}
    made = [x for x in _leaves(out) if isinstance(x, Tensor)]
    return not made or made[0].untyped_storage()._cdata in given


def _leaves(x: Any) -> list[Any]:
    if isinstance(x, Mapping):
        x = tuple(x.values())
    return [z for y in x for z in _leaves(y)] if isinstance(x, (list, tuple)) else [x]


def _operands(x: Any) -> list[Operand]:
    return [y for y in _leaves(x) if isinstance(y, Operand)]


def _mapped(change: Callable[[Any], Any], x: Any) -> Any:
    return tuple(_mapped(change, y) for y in x) if isinstance(x, tuple) else change(x)


def _is(x: Any) -> bool:
    return isinstance(x, Operand)


def _given(call: OneCall) -> list[Operand]:
    """Distinct activations."""
    return list(dict.fromkeys(x for x in call.operands if not x.weight))


def _meta_type(x: Operand) -> torch.dtype:
    return _DTYPES[x.dtype] or torch.float32


def _plain(x: Any) -> bool:
    if isinstance(x, Operand):
        return x.dtype in _DTYPES
    return x is None or isinstance(x, (bool, int, float, str))


def _span(x: Operand) -> int:
    """Elements of memory that an operand reaches over."""
    return 1 + sum((n - 1) * step for n, step in zip(x.shape, x.stride, strict=True))


def _bytes(x: Operand, dtype: torch.dtype) -> int:
    return _span(x) * (_DTYPES[x.dtype] or dtype).itemsize


def _tensor(x: Operand, dtype: torch.dtype, generator: torch.Generator, *, ones: bool) -> Tensor:
    """Values: normal ones; ones where a call in place would otherwise drift; zeros as indices."""
    own = _DTYPES[x.dtype]
    if own is not None:
        flat = torch.zeros(_span(x), dtype=own)
    elif x.weight or ones:
        flat = torch.full((_span(x),), 1.0 if ones else 0.01, dtype=dtype)
    else:
        flat = torch.empty(_span(x), dtype=dtype).normal_(generator=generator)
    return flat.as_strided(x.shape, x.stride)


def _name(func: torch._ops.OpOverload) -> str:
    return f"{func.namespace}.{func._opname}.{func._overloadname}"


def _function(name: str) -> Callable[..., Any]:
    namespace, packet, overload = name.split(".")
    function: Callable[..., Any] = getattr(getattr(getattr(torch.ops, namespace), packet), overload)
    return function
