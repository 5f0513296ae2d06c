"""From a record's operations to the kernels that launch in a compiled runtime.

The runtime meant is inference under a CUDA graph, channels-last, compiled in the way of
TorchInductor, with convolutions and matrix products that have epilogues. Views, permutes among
them, are free. The rules, whose tables are in `fuse_rules`:

* Batch norm right after a convolution or linear layer folds into its weights.
* An elementwise operation joins the kernel that makes an operand, as its epilogue, if it alone
  reads that operand, whole. Other operands are read there. Where two products could take it, the
  later one does. Elementwise kernels join each other even where others read what is between:
  that is then written once.
* A norm, soft-max or reduction takes in the elementwise kernel that makes its input; a norm or
  soft-max even where others read that input too.
* Concatenation, padding, rolling and reshapes that this layout cannot express are copies; one copy
  does those before it that it alone reads. No product writes into a concatenation's memory.
* Attention is one kernel of family `other`; an unknown operation is `other`, with its bytes.

Nothing fuses across records: their inputs and outputs are in memory, at the float precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hwprofile.fuse_rules import GRAPH_RULES, QUANTIZES, FuseRules
from hwprofile.kernel import FLOAT_BYTES, SCHEMES, Kernel
from hwprofile.launches import Grouper, Launch
from hwprofile.layouts import told
from hwprofile.record import Record

_WEIGHT_BITS = {"w8a8": 8, "w8": 8, "w4": 4}


def fuse(
    record: Record, scheme: str = "fp16", rules: FuseRules = GRAPH_RULES, *, tell_ops: bool = False
) -> tuple[Kernel, ...]:
    """The kernels that launch for a record, in an order that respects the data flow.

    Schemes: the float ones set the bytes of every element; in `tf32`, kernels that multiply
    matrices are of that scheme and all others of `fp32`. `w8` and `w4` shrink the weights of
    products and convolutions alone (scales are not counted); all else is fp16. `w8a8` also has
    those kernels read int8: a convolution, product, norm or elementwise kernel whose result they
    read writes it as int8 in its epilogue (beside fp16, where others read that); for any other
    source, the record's inputs too, an extra elementwise kernel quantizes. Products of two
    activations stay fp16.

    Args:
        record: A record without holes.
        scheme: One of `hwprofile.kernel.SCHEMES`.
        rules: What joins what.
        tell_ops: Whether to fill the fields of kernels that are for CPUs.

    Returns:
        The kernels; none for the identity or for views alone.

    Raises:
        ValueError: For an unknown scheme, or where a hole is left.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}; got '{scheme}'")
    return tuple(_Pricer(Grouper(record, rules), scheme, tell_ops).kernels())


class _Pricer:
    """Counts the bytes of launches under a scheme."""

    def __init__(self, grouper: Grouper, scheme: str, tell_ops: bool) -> None:
        self.grouper = grouper
        self.tell_ops = tell_ops
        self.launches = sorted(grouper.launches, key=lambda launch: launch.position)
        self.scheme = scheme
        # What multiplies no weight; in TF32 only products and convolutions differ from fp32.
        self.float_scheme = {"bf16": "bf16", "fp32": "fp32", "tf32": "fp32"}.get(scheme, "fp16")
        self.product_scheme = "tf32" if scheme == "tf32" else self.float_scheme
        self.float_bytes = FLOAT_BYTES[self.float_scheme]
        self.main_bytes = 1 if scheme == "w8a8" else self.float_bytes
        self.demand: dict[int, int] = {}
        """How many launches read each value as int8."""
        self.quantized: set[int] = set()
        """Values that exist as int8 at the point reached."""
        if scheme == "w8a8":
            for launch in self.launches:
                if launch.main >= 0:
                    value = grouper.value[launch.main]
                    self.demand[value] = self.demand.get(value, 0) + 1

    def kernels(self) -> Iterator[Kernel]:
        """The kernels in order, quantizing ones before the first that needs them."""
        for launch in self.launches:
            value = self.grouper.value.get(launch.main, -1)
            if value in self.demand and value not in self.quantized:
                self.quantized.add(value)
                yield self._quantize(value, launch.call.path)
            yield self._kernel(launch)

    def _kernel(self, launch: Launch) -> Kernel:
        sizes = launch.sizes
        op, m, n, k, groups, taps, stride, _ = sizes
        if op == "elementwise":
            m = max([self.grouper.numel[v] for v in launch.made])
        weight_bits = launch.weight * _WEIGHT_BITS.get(self.scheme, 8 * self.float_bytes)
        kernel = Kernel(
            op=op,
            scheme=self._scheme(launch),
            m=m,
            n=n,
            k=k,
            groups=groups,
            taps=taps,
            stride=stride,
            flops=launch.flops,
            read_bytes=self._read(launch),
            weight_bytes=-(-weight_bits // 8) + launch.floats * self.float_bytes,
            write_bytes=self._written(launch),
            detail="+".join(launch.names),
            path=launch.call.path,
        )
        if not self.tell_ops:
            return kernel
        done = (launch.names[0], *launch.names[1 + launch.folded :])
        return replace(kernel, **told(launch.call, done))

    def _scheme(self, launch: Launch) -> str:
        if launch.weight:
            return self.scheme
        multiplies = launch.sizes.op == "gemm" or launch.sizes.k > 1
        return self.product_scheme if multiplies else self.float_scheme

    def _read(self, launch: Launch) -> int:
        itemsize = self.grouper.itemsize
        total = 0
        for key, elements in launch.reads.items():
            total += elements * itemsize.get(key, self.float_bytes)
        # A residual's input is also its first product's: one read serves both at one precision.
        if launch.main >= 0 and (launch.main not in launch.reads or self.main_bytes == 1):
            total += self.grouper.numel[launch.main] * self.main_bytes
        return total

    def _written(self, launch: Launch) -> int:
        grouper, total = self.grouper, 0
        for value in launch.made:
            uses, integers = grouper.uses[value], self.demand.get(value, 0)
            if integers and launch.sizes.op in QUANTIZES:
                self.quantized.add(value)
                total += grouper.numel[value]
                uses -= integers
            if uses > 0 or (value == launch.made[-1] and not integers):
                total += grouper.numel[value] * grouper.itemsize.get(value, self.float_bytes)
        return total

    def _quantize(self, value: int, path: str) -> Kernel:
        elements = self.grouper.numel[value]
        return Kernel(
            op="elementwise",
            scheme="fp16",
            m=elements,
            flops=elements,
            read_bytes=elements * self.float_bytes,
            write_bytes=elements,
            detail="quantize",
            path=path,
        )
