"""The dispatch mode that turns the operations of a forward pass into calls of a record."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from hwprofile.arguments import Arguments
from hwprofile.meta_shapes import META, empty, is_dense
from hwprofile.op_rules import OpRule, normalise_convolution, rule_of
from hwprofile.record import HOLE, OpCall, Record, Shape, without_unread

_MEMO_SIZE = 20_000
_MEMO: dict[tuple[Any, ...], tuple[type | None, tuple[tuple[Any, ...], ...]]] = {}
"""What torch's own meta functions made of equal arguments: size, stride and type of each result."""


class TraceError(ValueError):
    """A module that cannot be traced; the message names the module's path and the cure."""


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records what one forward pass dispatches. Use once, inside `torch.inference_mode`."""

    def __init__(self, module: nn.Module, layout: str = "nhwc") -> None:
        """Make the mode for the module that will run, which gives paths and parameters.

        Args:
            module: What will run.
            layout: `nhwc` for a runtime that keeps images channels-last, `nchw` where every
                operation chooses the strides of its result.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.layout = layout
        self.modules: list[nn.Module] = []
        """The module and all within it, each once."""
        self.paths: dict[int, str] = {}
        """First path of each, by `id`."""
        self._walk(module, "")
        self.given: tuple[torch.Tensor, ...] = ()
        self.calls: list[OpCall] = []
        self.ids: dict[int, int] = {}
        # `ids` goes by `id`, so tensors must stay alive lest an identity be used twice.
        self.numbered: list[torch.Tensor] = []
        self.roots: list[int] = []
        self.sharing: dict[int, list[torch.Tensor]] = {}
        self.twins: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.rewritten = False

    def start(self, inputs: Sequence[torch.Tensor]) -> None:
        """Number the meta tensors that the module will be given."""
        self.given = tuple(inputs)
        for tensor in inputs:
            self._number(tensor, None)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The distinct parameters."""
        seen: set[int] = set()
        for module in self.modules:
            for parameter in module._parameters.values():
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield parameter

    def finish(self, result: object) -> Record:
        """The record, once the module returned `result`."""
        tensors = list(_tensors_in(result))
        tensors = [t for t in tensors if id(t) in self.ids]
        if not tensors:
            raise TraceError("the module must return tensors that depend on its inputs")
        record = Record(
            calls=tuple(self.calls),
            inputs=tuple(range(len(self.given))),
            input_shapes=tuple([tuple(t.shape) for t in self.given]),
            input_dtypes=tuple([t.dtype for t in self.given]),
            outputs=tuple([self.ids[id(t)] for t in tensors]),
            output_shapes=tuple([tuple(t.shape) for t in tensors]),
            layout=self.layout,
            param_count=sum([p.numel() for p in self.parameters()]),
        )
        return without_unread(record) if self.rewritten else record

    def mark(
        self, module: nn.Module, index: int, inputs: Sequence[torch.Tensor], out_shape: Shape
    ) -> torch.Tensor:
        """Record a hole's marker and make its output."""
        if not inputs or any(id(t) not in self.ids for t in inputs):
            raise TraceError(f"hole {index} must read tensors that depend on the inputs")
        out = empty((inputs[0].shape[0], *out_shape), inputs[0].dtype, self.layout)
        self.calls.append(
            OpCall(
                op=HOLE,
                inputs=tuple([self.ids[id(t)] for t in inputs]),
                outputs=(self._number(out, None),),
                input_shapes=tuple([tuple(t.shape) for t in inputs]),
                output_shapes=(tuple(out.shape),),
                output_dtypes=(out.dtype,),
                input_strides=tuple([t.stride() for t in inputs]),
                output_strides=(out.stride(),),
                attrs={"index": index},
                path=self.paths.get(id(module), ""),
            )
        )
        return out

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Record one operation and return its result on the meta device."""
        rule, kwargs = rule_of(func), kwargs or {}
        if rule.meaning is not None:
            with self:
                return rule.meaning(*args, **kwargs)
        if rule.decompose:
            with self:
                return func.decompose(*args, **kwargs)
        call, compiled = Arguments(self.ids, rule, args, kwargs), self.layout == "nhwc"
        if not call.inputs:
            out = self._constant(func, rule, args, kwargs)
            return out if compiled else self._note_constant(rule, call, out)
        if rule.drops and call.attrs.get("train") is False:
            return args[0]
        self._refuse(rule, args)
        if compiled and rule.relays and is_dense(args[0]):
            return args[0]
        if rule.convolves:
            normalise_convolution(tuple(call.tensors[1].shape), call.attrs, func._schema.name)
        shape = rule.shape if compiled else rule.eager_shape
        out = None if shape is None else shape(call.tensors, call.attrs)
        if out is None:
            out = self._run(func, rule, args, kwargs)
        if rule.writes:
            self._note_write(rule, call, args[0])
            return args[0]
        return self._note(rule, call, out)

    def _refuse(self, rule: OpRule, args: Sequence[Any]) -> None:
        """Raise for what cannot be told from shapes."""
        if rule.reads_values and not _by_integers(rule, args):
            raise TraceError(values_message(self._path(), rule.name, rule.sizes_vary))
        if rule.writes_elsewhere or (rule.writes and id(args[0]) not in self.ids):
            raise TraceError(
                f"module '{self._path()}' writes what it computes into a tensor of its own "
                f"({rule.name}). Join the parts with torch.cat or torch.stack instead"
            )

    def _constant(self, func: Any, rule: OpRule, args: Sequence[Any], kwargs: Any) -> Any:
        """Compute on parameters and constants alone: shapes only, unless values are asked for."""
        if rule.reads_values and not _by_integers(rule, args):
            if any(isinstance(a, torch.Tensor) and a.is_meta for a in args):
                raise TraceError(values_message(self._path(), rule.name, rule.sizes_vary))
            return func(*args, **kwargs)
        return self._run(func, rule, args, kwargs)

    def _run(self, func: Any, rule: OpRule, args: Sequence[Any], kwargs: Any) -> Any:
        """Torch's own result for meta tensors, from memory where the arguments came before."""
        args = [self._meta(a) for a in args]
        kwargs = {name: self._meta(value) for name, value in kwargs.items()}
        if rule.makes_device and not any(a is META for a in args):
            kwargs["device"] = META
        if rule.may_view or rule.writes or rule.makes_device:
            return self._call(func, rule, args, kwargs)
        key = (
            func,
            tuple([_key(a) for a in args]),
            tuple([(n, _key(v)) for n, v in kwargs.items()]),
        )
        known = _MEMO.get(key)
        if known is None:
            out = self._call(func, rule, args, kwargs)
            _remember(key, out)
            return out
        container, specs = known
        made = [torch.empty_strided(n, s, dtype=d, device=META) for n, s, d in specs]
        return made[0] if container is None else container(made)

    def _call(self, func: Any, rule: OpRule, args: Sequence[Any], kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except NotImplementedError as error:
            raise TraceError(values_message(self._path(), f"{rule.name}: {error}")) from error
        except (RuntimeError, ValueError, IndexError) as error:
            # A view that this layout does not allow is a copy in the runtime too.
            if rule.name in ("view", "view_as"):
                return args[0].reshape(args[1] if rule.name == "view" else args[1].shape)
            shapes = [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)]
            raise TraceError(
                f"module '{self._path()}': {rule.name} refuses shapes {shapes}: {error}"
            ) from error

    def _meta(self, value: Any) -> Any:
        """An argument with parameters, buffers and constants on the meta device."""
        if isinstance(value, torch.Tensor):
            return value if value.is_meta else self._twin(value)
        if isinstance(value, (list, tuple)):
            return [self._meta(v) for v in value]
        return META if isinstance(value, torch.device) else value

    def _twin(self, tensor: torch.Tensor) -> torch.Tensor:
        known = self.twins.get(id(tensor))
        if known is None:
            # Torch tracks views of the original as it does not those of inference tensors.
            with torch.inference_mode(False), torch.no_grad():
                twin = torch.empty_like(tensor, device=META)
                if tensor.requires_grad and self.layout == "nchw":
                    twin.requires_grad = True
            known = self.twins[id(tensor)] = (tensor, twin)
        return known[1]

    def _note(self, rule: OpRule, call: Arguments, out: Any) -> Any:
        """Record a call and return its result."""
        outs = (out,) if isinstance(out, torch.Tensor) else out
        if not isinstance(outs, (tuple, list)) or not outs:
            return out
        first = call.tensors[0]
        if outs[0] is first and not rule.inplace_view:
            return out
        outs = [t for t in outs if isinstance(t, torch.Tensor)]
        view = rule.may_view and id(first) in self.ids and _shares(outs[0], first)
        root = self.roots[self.ids[id(first)]] if view else None
        self._append(rule, call, outs, [self._number(t, root) for t in outs], view)
        return out

    def _note_constant(self, rule: OpRule, call: Arguments, out: Any) -> Any:
        """Record what eager PyTorch computes anew from parameters and constants in each forward.

        Views are not recorded: such a result counts as a weight of what reads it.
        """
        outs = [out] if isinstance(out, torch.Tensor) else out
        if not isinstance(outs, (tuple, list)) or not outs or rule.writes:
            return out
        if not all(isinstance(t, torch.Tensor) for t in outs):
            return out
        if rule.may_view and call.tensors:
            first = call.tensors[0]
            if outs[0] is first or _shares(outs[0], first if first.is_meta else self._twin(first)):
                return out
        if rule.convolves:
            normalise_convolution(tuple(call.tensors[1].shape), call.attrs, rule.name)
        self._append(rule, call, outs, [self._number(t, None) for t in outs], False)
        return out

    def _note_write(self, rule: OpRule, call: Arguments, written: torch.Tensor) -> None:
        """Record an in-place call: every tensor that shares the memory gets a new identifier."""
        root = self.roots[self.ids[id(written)]]
        others = [t for t in self.sharing[root] if t is not written]
        self.rewritten |= bool(others)
        outs = [written, *others]
        self._append(rule, call, outs, [self._number(t, root) for t in outs], False)

    def _append(
        self,
        rule: OpRule,
        call: Arguments,
        outs: Sequence[torch.Tensor],
        outputs: Sequence[int],
        view: bool,
    ) -> None:
        shapes = [tuple(t.shape) for t in outs]
        macs = 0
        if rule.macs is not None:
            macs = rule.macs([tuple(t.shape) for t in call.tensors], shapes[0], call.attrs)
        self.calls.append(
            OpCall(
                op=rule.name,
                inputs=tuple(call.inputs),
                outputs=tuple(outputs),
                input_shapes=tuple([tuple(t.shape) for t in call.read]),
                output_shapes=tuple(shapes),
                output_dtypes=tuple([t.dtype for t in outs]),
                input_strides=tuple([t.stride() for t in call.read]),
                output_strides=tuple([t.stride() for t in outs]),
                weights=call.described(),
                attrs=call.attrs,
                macs=macs,
                path=self._path(),
                view=view,
                inplace=rule.writes,
            )
        )

    def _number(self, tensor: torch.Tensor, root: int | None) -> int:
        """A new identifier for a tensor, which shares the memory of `root` or has its own."""
        number = len(self.numbered)
        self.numbered.append(tensor)
        self.roots.append(number if root is None else root)
        if root is None:
            self.sharing[number] = [tensor]
        elif id(tensor) not in self.ids:
            self.sharing[root].append(tensor)
        self.ids[id(tensor)] = number
        return number

    def _walk(self, module: nn.Module, path: str) -> None:
        # In a third of the time of `named_modules`, which small modules would spend most of.
        if id(module) in self.paths:
            return
        self.paths[id(module)] = path
        self.modules.append(module)
        for name, child in module._modules.items():
            if child is not None:
                self._walk(child, f"{path}.{name}" if path else name)

    def _path(self) -> str:
        return self.path_of(sys._getframe(1))

    def path_of(self, frame: FrameType | None) -> str:
        """Path of the innermost module whose forward a frame is in.

        Frames are read because hooks would have to be put on the caller's module.
        """
        while frame is not None:
            code = frame.f_code
            if code.co_name == "forward" and code.co_argcount:
                path = self.paths.get(id(frame.f_locals.get(code.co_varnames[0])))
                if path is not None:
                    return path
            frame = frame.f_back
        return ""


def values_message(path: str, reason: str, sizes_vary: bool = False) -> str:
    """What to tell the user of a module that asks for values.

    Args:
        path: Module path.
        reason: What asked.
        sizes_vary: Whether the size of a result depends on values.
    """
    does = "asks for the values of a tensor"
    if sizes_vary:
        does += ", to make another as large as they say"
    return (
        f"module '{path}' {does}: a trace has none ({reason}). "
        "Let shapes or constructor arguments decide instead, or keep that part out of the module"
    )


def _tensors_in(result: object) -> Iterator[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, (tuple, list)):
        for item in result:
            yield from _tensors_in(item)
    elif isinstance(result, Mapping):
        for item in result.values():
            yield from _tensors_in(item)
    elif is_dataclass(result):
        for field in fields(result):
            yield from _tensors_in(getattr(result, field.name))


def _shares(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(a.untyped_storage()._cdata == b.untyped_storage()._cdata)


def _by_integers(rule: OpRule, args: Sequence[Any]) -> bool:
    """Whether a call looks entries up by integers: shapes then follow from shapes alone.

    Looked up by truth values, the same operation keeps as many entries as are true.
    """
    if rule.name != "index":
        return False
    return all(t is None or t.dtype not in (torch.bool, torch.uint8) for t in args[1])


def _key(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return (value.shape, value.stride(), value.dtype)
    return tuple([_key(v) for v in value]) if isinstance(value, (list, tuple)) else value


def _remember(key: tuple[Any, ...], out: Any) -> None:
    container = None if isinstance(out, torch.Tensor) else type(out)
    outs = [out] if container is None else out
    if container in (None, tuple, list) and all(isinstance(t, torch.Tensor) for t in outs):
        if len(_MEMO) >= _MEMO_SIZE:
            _MEMO.clear()
        _MEMO[key] = (container, tuple([(t.shape, t.stride(), t.dtype) for t in outs]))
