"""What a trace yields: operation calls in order, and how records are put together.

Tensors are numbered: a record's inputs come first, then every output in the order of the calls, so
each identifier is written by exactly one call (an in-place operation writes a new identifier that
shares its input's memory). To carry a quantity along the data flow, start a table with the record's
`inputs`, walk `calls` in order, read the entries of `call.inputs`, and set those of `call.outputs`;
every identifier read was set before. `input_shapes` stand in the order of `inputs`, which is the
order of the operation's arguments: for `cat` they are the sizes of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch

Shape = tuple[int, ...]
"""Sizes of a tensor, the batch included."""
Attribute = int | float | bool | str | None | tuple["Attribute", ...]
"""A value that an operation takes beside tensors."""

HOLE = "hole"
"""`OpCall.op` of the marker that stands for a child's calls."""


class Weight(NamedTuple):
    """A parameter, buffer or constant that an operation reads."""

    shape: Shape
    """Sizes as the operation sees them."""
    numel: int
    """Elements stored: fewer than the shape says where it was expanded."""
    strides: Shape
    """Strides, in elements."""
    place: int
    """Where it stands among all tensors of the call, from 0."""
    trained: bool
    """Whether it takes gradients, as a parameter and its views do: eager PyTorch asks."""


class Operand(NamedTuple):
    """A tensor that an operation reads."""

    shape: Shape
    """Sizes."""
    strides: Shape
    """Strides, in elements."""
    trained: bool
    """Whether it is a parameter that takes gradients, or a view of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpCall:
    """One operation as torch dispatches it at inference.

    Names are torch's own without overload and trailing underscore (`add`, `softmax`), except that
    every convolution is a `convolution`. Computation on parameters alone is no call: a runtime
    folds it, and its result appears among the weights of the call that reads it.
    """

    op: str
    """Short name, such as `convolution`, `linear`, `layer_norm`; `hole` for a marker."""
    inputs: tuple[int, ...]
    """Tensors read, in the order of the arguments; parameters and constants are not among them."""
    outputs: tuple[int, ...]
    """Tensors written. Only views such as `split`, and in-place writes that other live views of the
    same memory see, have more than one; a written tensor itself stands first."""
    input_shapes: tuple[Shape, ...]
    """Shapes of `inputs`."""
    output_shapes: tuple[Shape, ...]
    """Shapes of `outputs`."""
    output_dtypes: tuple[torch.dtype, ...]
    """Element types of `outputs`."""
    input_strides: tuple[Shape, ...] = ()
    """Strides of `inputs`, in elements."""
    output_strides: tuple[Shape, ...] = ()
    """Strides of `outputs`, in elements."""
    weights: tuple[Weight, ...] = ()
    """Parameters, buffers and constants read, in the order of the arguments."""
    attrs: Mapping[str, Attribute] = field(default_factory=dict, hash=False)
    """Other arguments by torch's name, defaults included. A convolution has `kernel`, `stride`,
    `padding`, `dilation` (one integer a spatial dimension), `groups` and `transposed`."""
    macs: int = 0
    """Multiply-adds of convolutions, matrix products and attention; zero for all else."""
    path: str = ""
    """Path of the innermost module that made the call; empty for the traced module itself."""
    view: bool = False
    """Whether the outputs are the first input's memory seen otherwise: no launch, no memory."""
    inplace: bool = False
    """Whether the outputs overwrite the first input's memory."""

    @property
    def operands(self) -> tuple[Operand, ...]:
        """All tensors read, parameters and constants too, in the order of the arguments."""
        given = zip(self.input_shapes, self.input_strides, strict=True)
        found = [Operand(shape, strides, False) for shape, strides in given]
        for weight in self.weights:
            found.insert(weight.place, Operand(weight.shape, weight.strides, weight.trained))
        return tuple(found)

    @property
    def aliases(self) -> bool:
        """Whether all outputs share the memory of the first input."""
        return self.view or self.inplace


@dataclass(frozen=True, kw_only=True)
class Record:
    """The calls of a module for one set of input shapes."""

    calls: tuple[OpCall, ...]
    """Calls in the order of execution."""
    inputs: tuple[int, ...]
    """Identifiers of the inputs: 0 and up."""
    input_shapes: tuple[Shape, ...]
    """Shapes of the inputs."""
    input_dtypes: tuple[torch.dtype, ...]
    """Element types of the inputs."""
    outputs: tuple[int, ...]
    """Identifiers of the outputs; an input's own where the module hands it on."""
    output_shapes: tuple[Shape, ...]
    """Shapes of the outputs."""
    layout: str = "nhwc"
    """Layout that it was traced in, as `hwprofile.trace.trace` has it."""
    param_count: int = 0
    """Elements of the module's distinct parameters, shared ones once, unused ones too."""

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of all calls."""
        return sum(call.macs for call in self.calls)

    @cached_property
    def overwrites(self) -> frozenset[int]:
        """The inputs whose memory some call writes in place."""
        roots = {i: i for i in self.inputs}
        written = set()
        for call in self.calls:
            if call.aliases and call.inputs[0] in roots:
                root = roots[call.inputs[0]]
                roots.update(dict.fromkeys(call.outputs, root))
                if call.inplace:
                    written.add(root)
        return frozenset(written)

    @cached_property
    def holes(self) -> tuple[OpCall, ...]:
        """The markers still to be filled by `splice`."""
        return tuple(call for call in self.calls if call.op == HOLE)


class _Joiner:
    """Collects the calls of several records under one numbering."""

    def __init__(self, inputs: int) -> None:
        self.calls: list[OpCall] = []
        self.fresh = inputs

    def add(self, call: OpCall, names: dict[int, int], prefix: str = "") -> None:
        """Append a call, with its tensors renamed by `names`, which gains its outputs."""
        first = self.fresh
        self.fresh = first + len(call.outputs)
        inputs = tuple([names[i] for i in call.inputs])
        outputs = tuple(range(first, self.fresh))
        names.update(zip(call.outputs, outputs, strict=True))
        path = _joined(prefix, call.path)
        if inputs != call.inputs or outputs != call.outputs or path != call.path:
            call = _moved(call, inputs, outputs, path)
        self.calls.append(call)

    def add_all(self, record: Record, inputs: Sequence[int], prefix: str) -> list[int]:
        """Append a record's calls, reading `inputs`; returns what its outputs became."""
        names = dict(zip(record.inputs, inputs, strict=True))
        for call in record.calls:
            self.add(call, names, prefix)
        return [names[i] for i in record.outputs]


def splice(record: Record, children: Sequence[Record]) -> Record:
    """Put records in the place of a composite's holes.

    The result equals the record of the whole composite traced at once, except where a child hands
    on an unusual memory layout: a hole promises channels-last images and else row-major.

    Args:
        record: A composite's record; the marker with attribute `index` i stands for `children[i]`.
        children: Complete records, one for each index. One without calls is the identity.

    Returns:
        A record without the markers, its parameters those of the composite and of every child.

    Raises:
        ValueError: Where a child is missing, its shapes are not those of its hole, or it writes
            into an input that the composite still reads.
    """
    joiner = _Joiner(len(record.inputs))
    names = {i: i for i in record.inputs}
    for position, call in enumerate(record.calls):
        if call.op != HOLE:
            joiner.add(call, names)
            continue
        child = _child_of(call, children)
        if child.overwrites:
            _check_unread(record, position, child)
        read = [names[i] for i in call.inputs]
        names.update(zip(call.outputs, joiner.add_all(child, read, call.path), strict=True))
    return Record(
        calls=tuple(joiner.calls),
        inputs=record.inputs,
        input_shapes=record.input_shapes,
        input_dtypes=record.input_dtypes,
        outputs=tuple(names[i] for i in record.outputs),
        output_shapes=record.output_shapes,
        layout=record.layout,
        param_count=record.param_count + sum(child.param_count for child in children),
    )


def chain(records: Sequence[Record], paths: Sequence[str] | None = None) -> Record:
    """Join records end to end: the outputs of each are the inputs of the next.

    Args:
        records: At least one, with shapes that fit.
        paths: Module path of each; by default its position, as in `nn.Sequential`.

    Raises:
        ValueError: Where there is no record, or the shapes of neighbours differ.
    """
    if not records:
        raise ValueError("a chain needs at least one record: pass the identity's for none")
    first = records[0]
    joiner, passed, shapes = _Joiner(len(first.inputs)), list(first.inputs), first.input_shapes
    for position, record in enumerate(records):
        if record.input_shapes != shapes:
            raise ValueError(
                f"record {position} of a chain must take {shapes}; it takes {record.input_shapes}"
            )
        prefix = paths[position] if paths is not None else str(position)
        passed, shapes = joiner.add_all(record, passed, prefix), record.output_shapes
    return Record(
        calls=tuple(joiner.calls),
        inputs=first.inputs,
        input_shapes=first.input_shapes,
        input_dtypes=first.input_dtypes,
        outputs=tuple(passed),
        output_shapes=shapes,
        layout=first.layout,
        param_count=sum(record.param_count for record in records),
    )


def without_unread(record: Record) -> Record:
    """Drop the outputs of in-place calls, beyond the first, that nothing reads; number anew."""
    read = {i for call in record.calls for i in call.inputs}.union(record.outputs)
    joiner, names = _Joiner(len(record.inputs)), {i: i for i in record.inputs}
    for call in record.calls:
        kept = [n for n, i in enumerate(call.outputs) if n == 0 or not call.inplace or i in read]
        if len(kept) < len(call.outputs):
            call = _with_outputs(call, kept)
        joiner.add(call, names)
    return Record(
        calls=tuple(joiner.calls),
        inputs=record.inputs,
        input_shapes=record.input_shapes,
        input_dtypes=record.input_dtypes,
        outputs=tuple(names[i] for i in record.outputs),
        output_shapes=record.output_shapes,
        layout=record.layout,
        param_count=record.param_count,
    )


def _child_of(hole: OpCall, children: Sequence[Record]) -> Record:
    """The record for a marker, checked against the shapes that the marker promises."""
    index = hole.attrs["index"]
    if not isinstance(index, int) or not 0 <= index < len(children):
        raise ValueError(f"hole {index} at '{hole.path}' has no child among {len(children)}")
    child = children[index]
    if child.input_shapes != hole.input_shapes or child.output_shapes != hole.output_shapes:
        raise ValueError(
            f"the child for hole {index} at '{hole.path}' must map {hole.input_shapes} to "
            f"{hole.output_shapes}; it maps {child.input_shapes} to {child.output_shapes}"
        )
    return child


def _check_unread(record: Record, position: int, child: Record) -> None:
    """Raise where a composite reads, after a hole, what the child there overwrites."""
    hole = record.calls[position]
    later = {i for call in record.calls[position + 1 :] for i in call.inputs}.union(record.outputs)
    for i in child.overwrites:
        if hole.inputs[child.inputs.index(i)] in later:
            raise ValueError(
                f"the child at '{hole.path}' writes into its input, which its composite reads "
                "later: build its first operation without inplace=True"
            )


def _joined(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix and path else prefix or path


def _moved(call: OpCall, inputs: tuple[int, ...], outputs: tuple[int, ...], path: str) -> OpCall:
    # Written out: `dataclasses.replace` takes several times as long, and this runs for every call.
    return OpCall(
        op=call.op,
        inputs=inputs,
        outputs=outputs,
        input_shapes=call.input_shapes,
        output_shapes=call.output_shapes,
        output_dtypes=call.output_dtypes,
        input_strides=call.input_strides,
        output_strides=call.output_strides,
        weights=call.weights,
        attrs=call.attrs,
        macs=call.macs,
        path=path,
        view=call.view,
        inplace=call.inplace,
    )


def _with_outputs(call: OpCall, kept: Sequence[int]) -> OpCall:
    return OpCall(
        op=call.op,
        inputs=call.inputs,
        outputs=tuple(call.outputs[n] for n in kept),
        input_shapes=call.input_shapes,
        output_shapes=tuple(call.output_shapes[n] for n in kept),
        output_dtypes=tuple(call.output_dtypes[n] for n in kept),
        input_strides=call.input_strides,
        output_strides=tuple(call.output_strides[n] for n in kept),
        weights=call.weights,
        attrs=call.attrs,
        macs=call.macs,
        path=call.path,
        view=call.view,
        inplace=call.inplace,
    )
