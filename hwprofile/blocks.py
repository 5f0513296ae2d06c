"""The costs of an architecture, block by block.

Every distinct (primitive, parameters, input spec) is traced once; composites are traced with holes
that their children's records fill. Every distinct (block, input spec) is then put together, fused
and measured once, so that a whole architecture costs a look-up for each of its blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from hwprofile.inductor import rules_of
from hwprofile.kernel import FLOAT_BYTES, Kernel
from hwprofile.liveness import peak_bytes
from hwprofile.meta_build import on_meta
from hwprofile.runtime import CUDA_GRAPH, Runtime, launches
from hwprofile.trace import Hole, Record, chain, splice, trace
from searchspace.build import flow, leaves, plan, primitive_of
from searchspace.shapes import TensorSpec
from searchspace.tree import FLOAT, Node, Value, units


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class BlockCost:
    """What one block costs for one input spec. Compared by identity: a table makes each once."""

    record: Record
    """Operations at inference, for the table's batch."""
    kernels: tuple[Kernel, ...]
    """What would launch, in the block's precision scheme."""
    macs: int
    """Multiply-adds for one image."""
    params: int
    """Parameters of the module as it is trained."""
    peak_bytes: int
    """Peak activation memory for the batch, counted over launches where the runtime fuses: the
    block's input and output included, and the network's, unless the block's is of its spec."""
    weight_bytes: int
    """Weights that the kernels read, as the precision scheme stores them."""
    entered: TensorSpec
    """Spec of the input."""
    left: TensorSpec
    """Spec of the output."""
    scheme: str
    """Precision scheme."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Part:
    """What one tree of a network costs for one input spec. Compared by identity, as blocks are."""

    blocks: tuple[BlockCost, ...]
    """Its blocks, in order."""
    macs: int
    """As those of `Costs`, of this part; likewise the next three."""
    params: int
    peak_bytes: int
    weight_bytes: int
    left: TensorSpec
    """Spec of the output."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Costs:
    """What an architecture costs, before any device is named."""

    blocks: tuple[BlockCost, ...]
    """The blocks that data flow through, in order."""
    parts: tuple[Part, ...]
    """The same by the trees that hold them: what a table makes once for all networks."""
    macs: int
    """Multiply-adds for one image."""
    params: int
    """Parameters of the module as it is trained."""
    peak_bytes: int
    """Peak activation memory for the batch: that of the largest block, as blocks form a chain. What
    is given to a row of blocks, which an eager runtime holds too, is not counted."""
    weight_bytes: int
    """Weights of all blocks, each as its scheme stores them: batch norms folded, branches merged,
    scales not counted."""
    items: tuple[int, ...] = ()
    """How many of the blocks each item of the root's alternative holds; adds up to all."""


class BlockTable:
    """Costs of blocks, each found once.

    Args:
        spec: input of the networks.
        batch: images in one forward pass.
        precision: scheme of blocks that have none of their own: one of `FLOAT_BYTES`.
        runtime: what runs the blocks, which decides what launches.
    """

    def __init__(
        self,
        spec: TensorSpec,
        *,
        batch: int = 1,
        precision: str = "fp16",
        runtime: Runtime = CUDA_GRAPH,
    ) -> None:
        if precision not in FLOAT_BYTES:
            raise ValueError(
                f"the precision must be one of {', '.join(FLOAT_BYTES)}; got '{precision}'"
            )
        self.spec, self.batch, self.precision = spec, batch, precision
        self.runtime = runtime
        self._parts: dict[tuple[Node, TensorSpec], Part] = {}
        self._blocks: dict[tuple[Node, TensorSpec], BlockCost] = {}
        self._traces: dict[tuple[object, ...], tuple[Record, int]] = {}

    def costs(self, root: Node) -> Costs:
        """Costs of a tree.

        Raises:
            ShapeError: a primitive does not serve the shape that reaches it.
        """
        leaf = root.is_block or root.is_primitive
        return self._costs(((root,),) if leaf else root.children, self.spec)

    def costs_of(self, nodes: Sequence[Node], spec: TensorSpec) -> Costs:
        """Costs of trees in a row, anywhere in a network; raises as `costs`.

        Args:
            nodes: first to last.
            spec: what enters the first.
        """
        return self._costs((nodes,), spec)

    def _costs(self, groups: Sequence[Sequence[Node]], spec: TensorSpec) -> Costs:
        parts: list[Part] = []
        items = []
        for nodes in groups:
            before = len(parts)
            for root in nodes:
                part = self._parts.get((root, spec)) or self._part(root, spec)
                parts.append(part)
                spec = part.left
            items.append(sum([len(part.blocks) for part in parts[before:]]))
        return Costs(
            blocks=tuple([block for part in parts for block in part.blocks]),
            parts=tuple(parts),
            macs=sum([part.macs for part in parts]),
            params=sum([part.params for part in parts]),
            peak_bytes=max([part.peak_bytes for part in parts], default=0),
            weight_bytes=sum([part.weight_bytes for part in parts]),
            items=tuple(items),
        )

    def _part(self, root: Node, spec: TensorSpec) -> Part:
        blocks, left = [], spec
        for _, node in units(root):
            block = self._blocks.get((node, left)) or self._add(node, left)
            blocks.append(block)
            left = block.left
        found = self._parts[root, spec] = Part(
            blocks=tuple(blocks),
            macs=sum(block.macs for block in blocks),
            params=sum(block.params for block in blocks),
            peak_bytes=max((block.peak_bytes for block in blocks), default=0),
            weight_bytes=sum(block.weight_bytes for block in blocks),
            left=left,
        )
        return found

    def _add(self, node: Node, spec: TensorSpec) -> BlockCost:
        left = flow(node, spec)
        record, params = self._sequence((node,), spec)
        scheme = self.precision if node.scheme in ("", FLOAT) else node.scheme
        kernels = launches(record, self.runtime, scheme, within=spec != self.spec)
        block = BlockCost(
            record=record,
            kernels=kernels,
            macs=record.macs // self.batch,
            params=params,
            peak_bytes=self._peak_bytes(record, spec),
            weight_bytes=sum(kernel.weight_bytes for kernel in kernels),
            entered=spec,
            left=left,
            scheme=scheme,
        )
        self._blocks[node, spec] = block
        return block

    def _peak_bytes(self, record: Record, spec: TensorSpec) -> int:
        each = FLOAT_BYTES[self.precision]
        peak = peak_bytes(record, each, rules=rules_of(self.runtime, self.precision))
        # The caller holds the network's input throughout; a block that reads it has counted it.
        return peak if spec == self.spec else peak + self.batch * math.prod(self.spec.shape) * each

    def _sequence(self, nodes: Sequence[Node], spec: TensorSpec) -> tuple[Record, int]:
        """Record of nodes in a row, and their parameters in training form."""
        records, params = [], 0
        row = [leaf for node in nodes for leaf in leaves(node)]
        for leaf in row:
            record, count = self._primitive(leaf, spec)
            records.append(record)
            params += count
            spec = flow(leaf, spec)
        if not row:  # a block of a body that repeats no times
            return trace(nn.Identity(), (self.batch, *spec.shape), layout=self.runtime.layout), 0
        paths = [str(i) for i in range(len(row))] if len(row) > 1 else [""]
        return chain(records, paths), params

    def _primitive(self, node: Node, spec: TensorSpec) -> tuple[Record, int]:
        primitive = primitive_of(node)
        named = primitive.named(node.values)
        within, copies = primitive.inside(spec, named), primitive.copies(named)
        outs = tuple(self._out(group, within) for group in node.children) * copies
        key = (node.symbol, node.values, spec, outs)
        found = self._traces.get(key)
        if found is None:
            found = self._traces[key] = self._trace(node.symbol, node.values, spec, outs)
        record, params = found
        if not node.children:
            return record, params
        bodies = [self._sequence(group, within) for group in node.children] * copies
        filled = splice(record, [body for body, _ in bodies])
        return filled, params + sum(count for _, count in bodies)

    def _trace(
        self,
        symbol: str,
        values: tuple[Value, ...],
        spec: TensorSpec,
        outs: tuple[TensorSpec, ...],
    ) -> tuple[Record, int]:
        primitive = primitive_of(Node(symbol, -1, values))
        arguments = primitive.arguments(spec, primitive.named(values))
        with on_meta():
            holes = [Hole(index, out.shape) for index, out in enumerate(outs)]
            trained = primitive.module(*holes, **arguments)
            run = trained
            if primitive.merged:
                flags = dict.fromkeys(primitive.merged, True)
                run = primitive.module(*holes, **arguments, **flags)
        record = trace(run, (self.batch, *spec.shape), layout=self.runtime.layout)
        return record, sum(parameter.numel() for parameter in trained.parameters())

    @staticmethod
    def _out(group: Sequence[Node], spec: TensorSpec) -> TensorSpec:
        for node in group:
            spec = flow(node, spec)
        return spec


def block_names(root: Node, spec: TensorSpec) -> Iterator[str]:
    """Module path of every block, in the order of `Costs.blocks`."""
    for part in plan(root, spec):
        yield from part.paths()
