"""DeepMAD's training-free score: multi-scale entropy, its effectiveness bound, and their
quantization-aware form.

Shen et al., "DeepMAD: Mathematical Architecture Design for Deep Convolutional Neural Network"
(CVPR 2023, arXiv 2303.02165), sections 3.2 to 3.5. A convolution of c channels in g groups and k^2
taps adds (1/2) ln(c k^2 / g) to the entropy of what flows through it. Nothing is read off the
architecture's description: the terms follow from the traced operations, carried along the data
flow. Where paths meet in a sum the larger counts, where they are concatenated their mean by
channels, and where they are multiplied the smaller, so that gates such as squeeze-excite add
nothing; the head, whose output is a vector, is not counted, as in the paper.

Departure: of a kernel's taps only those count that see input, on average over the output, since a
31 x 31 kernel on a 7 x 7 map reads no more than 49 values.

Tokens, which the paper does not treat, count as the image that they would fill: N tokens have the
height floor(sqrt(N)), so that a ViT's scale is that of its grid of patches, no class token opens a
scale of its own, and a network scores the same whether its last map is read as pixels or tokens.
Linear layers along features or tokens are 1 x 1 convolutions; attention itself has no weights and
adds nothing, as pools do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import pstdev

import numpy as np
from scipy.special import ndtr

from hwprofile.blocks import BlockCost, Costs
from hwprofile.estimate import Estimate
from hwprofile.trace import OpCall, Record
from predictors.base import Context
from searchspace.architecture import Architecture
from searchspace.shapes import TensorSpec

LAST_WEIGHT = 8.0
"""Weight of the last scale; all others weigh 1 (the paper's alpha, section 4.1)."""
DEPTH_PENALTY = 10.0
"""Factor of exp(standard deviation of the stages' depths), section 3.5."""
SIGMA_WEIGHT, SIGMA_ACTIVATION = 4.0, 5.0
"""Deviations of weights and activations in the quantization-aware form, in units of a step."""
BITS = {
    "fp32": (32, 32),
    "tf32": (19, 19),
    "fp16": (16, 16),
    "bf16": (16, 16),
    "w8a8": (8, 8),
    "w8": (8, 16),
    "w4": (4, 16),
}
"""Bits of weights and of activations, by precision scheme."""
_MATRIX = frozenset({"convolution", "linear", "addmm", "mm"})


@dataclass(frozen=True, slots=True)
class Flow:
    """What a tensor has gone through since the start of the network, or of its block."""

    log_width: float = 0.0
    """Sum of ln(c k^2 / g) over the convolutions."""
    depth: float = 0.0
    """How many convolutions; fractional where branches are concatenated."""

    def __add__(self, other: Flow) -> Flow:
        return Flow(self.log_width + other.log_width, self.depth + other.depth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The network up to the last block of one resolution."""

    channels: int
    """Channels of that block's output."""
    height: int
    """Height of that block's output, by `height_of`."""
    flow: Flow
    """Everything up to there."""
    gain: float = 0.0
    """Quantization-aware terms up to there, in nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entropy:
    """The score and the bound that keeps it meaningful."""

    score: float
    """Weighted entropies of all scales less the depth penalty; larger is better."""
    effectiveness: float
    """Largest depth over geometric-mean width of any scale; a network trains well below a bound."""


def entropy(scales: Sequence[Scale], depths: Sequence[int] = ()) -> Entropy:
    """Score and effectiveness of a network from its scales, first to last, and its stages' depths.

    Equations 4, 7 and 8 of the paper: the entropy of scale i is
    (ln C_i + ln H_i^2) * (1/2) * sum ln(c k^2 / g), the score is their sum with weights 1, .., 1, 8
    less 10 exp(std of the stages' depths), and effectiveness is max D_i / exp(sum ln(w) / D_i).
    A network without convolutions scores 0 less the penalty and has effectiveness 0.
    """
    score = 0.0
    effectiveness = 0.0
    for index, scale in enumerate(scales):
        weight = LAST_WEIGHT if index == len(scales) - 1 else 1.0
        volume = math.log(scale.channels) + 2 * math.log(scale.height)
        score += weight * volume * (scale.flow.log_width / 2 + scale.gain)
        if scale.flow.depth > 0:
            width = math.exp(scale.flow.log_width / scale.flow.depth)
            effectiveness = max(effectiveness, scale.flow.depth / width)
    depths = [depth for depth in depths if depth]
    spread = pstdev(depths) if len(depths) > 1 else 0.0
    return Entropy(score=score - DEPTH_PENALTY * math.exp(spread), effectiveness=effectiveness)


class EntropyPredictor:
    """DeepMAD's score as a quality predictor; needs no fitting."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._flows: dict[BlockCost, Flow] = {}

    def fit(self, architectures: Sequence[Architecture], values: Sequence[float]) -> None:
        """Learns nothing: the score follows from the structure alone."""

    def predict(self, architectures: Sequence[Architecture]) -> Sequence[Estimate]:
        """The scores, each exact: the range is the value itself."""
        scores = [self.entropy(self._context.costs(a)).score for a in architectures]
        return [Estimate(value=s, low=s, high=s, unit="nats") for s in scores]

    def entropy(self, costs: Costs) -> Entropy:
        """Score and effectiveness of traced costs."""
        return entropy(list(self.scales(costs.blocks)), self.depths(costs))

    def depths(self, costs: Costs) -> list[int]:
        """Blocks of each stage, an item of the root: of all but the first, the stem, if there are.

        What changes the shape by one convolution or none leads to a stage and is no block of it.
        """
        found, start = [], 0
        for count in costs.items:
            blocks = costs.blocks[start : start + count]
            found.append(sum(is_counted(block, self._flow(block)) for block in blocks))
            start += count
        return found[1:] if len(found) > 1 else found

    def _flow(self, block: BlockCost) -> Flow:
        flow = self._flows.get(block)
        if flow is None:
            flow = self._flows[block] = flow_through(block.record)
        return flow

    def scales(self, blocks: Iterable[BlockCost]) -> Iterable[Scale]:
        """The network up to the last block of each resolution, first to last."""
        total, gain = Flow(), 0.0
        open_scale: Scale | None = None
        for block in blocks:
            if block.left.mode == "vector":
                continue
            flow = self._flow(block)
            height = height_of(block.left)
            if open_scale is not None and height != open_scale.height:
                yield open_scale
            total += flow
            if self._context.quantized:
                gain += flow.depth * quantization_gain(*BITS[block.scheme])
            open_scale = Scale(
                channels=block.left.channels,
                height=height,
                flow=total,
                gain=gain,
            )
        if open_scale is not None:
            yield open_scale


def is_counted(block: BlockCost, flow: Flow) -> bool:
    """Whether a block counts to the depth of its stage."""
    if block.left.mode == "vector":
        return False
    return block.entered == block.left or flow.depth >= 2


def height_of(spec: TensorSpec) -> int:
    """Height of an image, or of the largest square that tokens fill."""
    return math.isqrt(spec.shape[0]) if spec.mode == "tokens" else spec.height


def flow_through(record: Record) -> Flow:
    """What a block adds: carried from its input to its output along the traced operations."""
    table = dict.fromkeys(record.inputs, Flow())
    for call in record.calls:
        came = _meet(call, [table[i] for i in call.inputs])
        if call.op in _MATRIX and call.weights:
            came += Flow(math.log(_fan_in(call)), 1.0)
        for output in call.outputs:
            table[output] = came
    return table[record.outputs[0]]


def _meet(call: OpCall, flows: Sequence[Flow]) -> Flow:
    if not flows:
        return Flow()
    if len(flows) == 1:
        return flows[0]
    if call.op == "cat":
        dimension = call.attrs.get("dim", 0)
        assert isinstance(dimension, int)
        parts = [shape[dimension] for shape in call.input_shapes]
        total = sum(parts)
        return Flow(
            sum(n * flow.log_width for n, flow in zip(parts, flows, strict=True)) / total,
            sum(n * flow.depth for n, flow in zip(parts, flows, strict=True)) / total,
        )
    choose = min if call.op == "mul" else max
    return choose(flows, key=lambda flow: (flow.log_width, flow.depth))


def _fan_in(call: OpCall) -> float:
    """c k^2 / g: the values that one output value is a weighted sum of."""
    if call.op != "convolution":
        return float(call.input_shapes[0][-1])
    attrs = call.attrs
    sizes = zip(
        call.input_shapes[0][2:],
        call.output_shapes[0][2:],
        _integers(attrs["kernel"]),
        _integers(attrs["stride"]),
        _integers(attrs["padding"]),
        _integers(attrs["dilation"]),
        strict=True,
    )
    fan_in = call.input_shapes[0][1] / _integers(attrs["groups"])[0]
    for size, out, kernel, stride, padding, dilation in sizes:
        fan_in *= (
            kernel
            if attrs["transposed"]
            else visible_taps(size, out, kernel, stride, padding, dilation)
        )
    return fan_in


def _integers(value: object) -> tuple[int, ...]:
    found = value if isinstance(value, tuple) else (value,)
    assert all(isinstance(item, int) for item in found), value
    return found


@lru_cache(maxsize=65536)
def visible_taps(
    size: int, out: int, kernel: int, stride: int, padding: int, dilation: int
) -> float:
    """Taps of a window, along one dimension, that lie on the input: mean over the output.

    Args:
        size: input size along the dimension.
        out: output size.
        kernel: window size in taps.
        stride: step of the window.
        padding: cells of padding before the input.
        dilation: distance of two taps.
    """
    seen = sum(
        0 <= o * stride - padding + t * dilation < size for o in range(out) for t in range(kernel)
    )
    return max(1.0, seen / out)


@lru_cache(maxsize=256)
def quantized_deviation(sigma: float, bits: int) -> float:
    """Deviation of a N(0, sigma^2) variable rounded to integers and clipped to +-2^(bits-1).

    The q of the quantization-aware form: q(1, 2) = 1.00892, q(1, 8) = 1.04083.
    """
    limit = 2 ** (min(bits, 16) - 1)
    reach = min(limit, math.ceil(12 * sigma) + 1)  # beyond 12 deviations nothing is left
    steps = np.arange(-reach, reach + 1)
    edges = np.concatenate(([-np.inf], steps[:-1] + 0.5, [np.inf]))
    mass = np.diff(ndtr(edges / sigma))
    return float(np.sqrt(np.sum(mass * steps.astype(float) ** 2)))


@lru_cache(maxsize=64)
def quantization_gain(weight_bits: int, activation_bits: int) -> float:
    """What one convolution's entropy gains, in nats: ln(q(sA, bA) q(sW, bW) / sA)."""
    activation = quantized_deviation(SIGMA_ACTIVATION, activation_bits)
    weight = quantized_deviation(SIGMA_WEIGHT, weight_bits)
    return math.log(activation * weight / SIGMA_ACTIVATION)
