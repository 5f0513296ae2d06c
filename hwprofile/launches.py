"""Groups a record's calls into launches: which operations one kernel performs together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hwprofile.fuse_rules import (
    EPILOGUE,
    FAMILY_OF,
    GRAPH_RULES,
    JOINED_WHILE_READ,
    QUANTIZED,
    FuseRules,
    Sizes,
    sizes_of,
)
from hwprofile.record import HOLE, OpCall, Record, Shape
from hwprofile.runtime import LIBRARY


@dataclass(slots=True, eq=False)
class Launch:
    """A kernel in the making."""

    sizes: Sizes
    """Family and sizes, from the operation that decides them."""
    call: OpCall
    """That operation."""
    position: int
    """Place in the order of launches."""
    main: int = -1
    """Key of what a product multiplies by its weight; -1 where it has none."""
    weight: int = 0
    """Elements of that weight."""
    floats: int = 0
    """Elements of all other parameters."""
    flops: int = 0
    """Operations, those fused included."""
    folded: int = 0
    """Operations after the first that went into its weights."""
    has_bias: bool = False
    """Whether a product adds a bias."""
    reads: dict[int, int] = field(default_factory=dict)
    """Elements of each other tensor read, by its key."""
    made: list[int] = field(default_factory=list)
    """Values computed, whether written or not."""
    names: list[str] = field(default_factory=list)
    """Operations, in order."""


class Grouper:
    """Takes a record's calls in order and groups them.

    A *value* is a tensor that some call computes; views are other names of it. What a launch reads
    goes by *key*: the value itself, or the view where that is only a part of it.
    """

    def __init__(self, record: Record, rules: FuseRules = GRAPH_RULES) -> None:
        self.rules = rules
        self.launches: list[Launch] = []
        self.value: dict[int, int] = {}
        """Value behind each tensor."""
        self.key: dict[int, int] = {}
        """Key of each tensor."""
        self.numel: dict[int, int] = {}
        """Elements by key."""
        self.itemsize: dict[int, int] = {}
        """Bytes of an element, by key, where tensors are not floating-point."""
        self.uses: dict[int, int] = {}
        """By value: reads by other launches than its own, and one for each time it is an output."""
        self.maker: dict[int, Launch] = {}
        """Launch of each value; inputs of the record have none."""
        self._survey(record)
        for clock, call in enumerate(record.calls):
            if call.op == HOLE:
                raise ValueError(f"hole at '{call.path}': splice the children in before fusing")
            if not call.view:
                self._take(call, clock)

    def _survey(self, record: Record) -> None:
        """Number the values and count who reads them."""
        for i, shape, dtype in zip(
            record.inputs, record.input_shapes, record.input_dtypes, strict=True
        ):
            self._name(i, i, shape)
            if not dtype.is_floating_point:
                self.itemsize[i] = dtype.itemsize
        for call in record.calls:
            if call.view:
                base = call.inputs[0]
                for i, shape in zip(call.outputs, call.output_shapes, strict=True):
                    self._name_view(i, base, shape)
                continue
            for v in {self.value[i] for i in call.inputs}:
                self.uses[v] += 1
            for i, shape, dtype in zip(
                call.outputs, call.output_shapes, call.output_dtypes, strict=True
            ):
                self._name(i, call.outputs[0] if call.inplace else i, shape)
                if not dtype.is_floating_point:
                    self.itemsize[i] = dtype.itemsize
        for i in record.outputs:
            self.uses[self.value[i]] += 1

    def _name(self, tensor: int, value: int, shape: Shape) -> None:
        self.value[tensor], self.key[tensor] = value, tensor
        self.numel[tensor] = math.prod(shape)
        self.uses.setdefault(value, 0)

    def _name_view(self, view: int, base: int, shape: Shape) -> None:
        self.value[view] = self.value[base]
        elements, key = math.prod(shape), self.key[base]
        if elements >= self.numel[key]:
            self.key[view] = key
            return
        self.key[view], self.numel[view] = view, elements
        if key in self.itemsize:
            self.itemsize[view] = self.itemsize[key]

    def _take(self, call: OpCall, clock: int) -> None:
        """Put a call into a launch that has room for it, or into one of its own."""
        family = FAMILY_OF.get(call.op, "other")
        if family == "elementwise":
            if self._folds(call) or self._joins(call, clock):
                return
        elif family in self.rules.prologue:
            launch = self._source(call.inputs[0])
            if launch is not None and launch.sizes.op == "elementwise":
                moves = self._moves(launch, self.value[call.inputs[0]])
                if moves or family in JOINED_WHILE_READ:
                    launch.sizes, launch.call = sizes_of(call), call
                    self._extend(launch, call, launch.sizes.flops)
                    return
        self._open(call, clock)

    def _open(self, call: OpCall, clock: int) -> None:
        """Start a launch with a call."""
        sizes = sizes_of(call)
        launch = Launch(sizes=sizes, call=call, position=clock)
        if sizes.op in QUANTIZED and call.weights:
            launch.main = self.key[call.inputs[0]]
            launch.weight = max([w.numel for w in call.weights])
            launch.has_bias = len(call.weights) > 1
            launch.floats = -launch.weight
        elif call.op == "embedding":
            # Only the rows that are looked up are read, not the table.
            launch.floats = self.numel[call.outputs[0]] - sum([w.numel for w in call.weights])
        self.launches.append(launch)
        if sizes.op == "copy":
            self._gather(launch, call)
        self._extend(launch, call, sizes.flops)
        if launch.main >= 0 and len(call.inputs) == 1:
            del launch.reads[launch.main]

    def _extend(self, launch: Launch, call: OpCall, flops: int) -> None:
        """Add a call to a launch."""
        for i in call.inputs:
            value = self.value[i]
            if self.maker.get(value) is not launch:
                key = self.key[i]
                launch.reads[key] = self.numel[key]
        for value in {self.value[i] for i in call.inputs}:
            if self.maker.get(value) is launch:
                self.uses[value] -= 1
        for i in call.outputs[:1] if call.inplace else call.outputs:
            launch.made.append(i)
            self.maker[i] = launch
        launch.names.append(call.op)
        launch.flops += flops
        if call.weights:
            launch.floats += sum([w.numel for w in call.weights])

    def _gather(self, launch: Launch, call: OpCall) -> None:
        """Have a copy do the copies that make its operands: all are one change of indices."""
        for i in call.inputs:
            value = self.value[i]
            maker = self.maker.get(value)
            if maker is None or maker is launch or maker.sizes.op != "copy":
                continue
            if self._moves(maker, value):
                self._absorb(launch, maker)

    def _folds(self, call: OpCall) -> bool:
        """Fold an operation with constants into the product that makes its input, if it can be."""
        if call.op not in self.rules.folds or len(call.inputs) != 1:
            return False
        launch, value = self._source(call.inputs[0]), self.value[call.inputs[0]]
        if launch is None or not launch.weight or self.uses[value] > 1:
            return False
        into = self.rules.into
        if not self.rules.folds.issuperset(launch.names[1:]) or (
            into is not None and launch.names[0] not in into
        ):
            return False
        bias = 0 if launch.has_bias else max([w.numel for w in call.weights], default=0)
        floats = launch.floats + bias
        self._extend(launch, call, 0)
        launch.folded += 1
        launch.floats, launch.has_bias = floats, True
        return True

    def _joins(self, call: OpCall, clock: int) -> bool:
        """Put an elementwise call into a kernel that makes an operand, if one can take it."""
        elements = self.numel[call.outputs[0]]
        best: Launch | None = None
        best_rank, movable = (0, 0), []
        for i in call.inputs:
            launch = self._source(i)
            if launch is None or self.numel[self.value[i]] != elements or launch is best:
                continue
            if not self._takes(launch, call):
                continue
            pointwise = launch.sizes.op == "elementwise"
            if self._moves(launch, self.value[i]):
                rank = (2 if pointwise else 3, launch.position)
                if pointwise:
                    movable.append(launch)
            elif launch.sizes.op in JOINED_WHILE_READ and self._ready(call, launch):
                rank = (1, launch.position)
            else:
                continue
            if rank > best_rank:
                best, best_rank = launch, rank
        if best is None:
            return False
        if best_rank[0] > 1:
            # Nothing else waits for these, so they can run as late as this call.
            whole = self.rules.epilogues is None or best.names[0] not in LIBRARY
            for other in movable if whole else ():
                if other is not best:
                    self._absorb(best, other)
            best.position = clock
        self._extend(best, call, elements)
        return True

    def _source(self, tensor: int) -> Launch | None:
        """The launch that makes a tensor, whole, and that could do more with it."""
        value = self.value[tensor]
        launch = self.maker.get(value)
        if launch is None or self.key[tensor] != value or launch.sizes.op not in EPILOGUE:
            return None
        return launch

    def _takes(self, launch: Launch, call: OpCall) -> bool:
        """Whether a launch could do an elementwise call before it writes."""
        rules, first = self.rules, launch.names[0]
        if rules.epilogues is None or first not in LIBRARY:
            return True
        epilogue = rules.epilogues.get(first)
        if epilogue is None:
            return False
        done = launch.names[1 + launch.folded :]
        if len(call.inputs) < 2:
            return (call.op in epilogue.unary and not call.weights and not done) or (
                call.op in epilogue.after and len(done) == 1 and done[0] in epilogue.binary
            )
        return call.op in epilogue.binary and not done and self._alike(call)

    def _alike(self, call: OpCall) -> bool:
        """Whether each operand is as large as the result, or has one value for each channel."""
        out = call.output_shapes[0]
        of_channels = (out[1], 1, 1) if len(out) == 4 else out[-1:]
        return all(
            shape == out or (len(shape) == len(out) and shape[-len(of_channels) :] == of_channels)
            for shape in call.input_shapes
        )

    def _moves(self, launch: Launch, value: int) -> bool:
        """Whether one call alone waits for a launch, the one that now reads `value`."""
        uses = self.uses
        return uses[value] == 1 and not any(uses[v] for v in launch.made if v != value)

    def _ready(self, call: OpCall, launch: Launch) -> bool:
        """Whether all that a call reads exists by the time that a launch runs."""
        for i in call.inputs:
            maker = self.maker.get(self.value[i])
            if maker is not None and maker is not launch and maker.position >= launch.position:
                return False
        return True

    def _absorb(self, launch: Launch, other: Launch) -> None:
        """Have one launch do what another, elementwise one does."""
        for key, elements in other.reads.items():
            launch.reads[key] = elements
        for value in other.made:
            self.maker[value] = launch
        launch.made += other.made
        launch.names += other.names
        launch.flops += other.flops
        launch.floats += other.floats
        self.launches.remove(other)
