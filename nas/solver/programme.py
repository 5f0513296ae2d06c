"""The design of a network as a programme: variables, objective and constraints, without a solver.

Shen et al., "DeepMAD" (CVPR 2023, arXiv 2303.02165), equation 11. A network is a chain of layers.
Each leads from a *state*, such as a width at some resolution, to the next, in a *mode*, such as a
kernel size and a bottleneck width, and repeats its last block so often. All numbers of a design are
in arrays by source state `a`, target state `b` and mode `m`; a solver sees nothing else.

The objective is a sum over scales, the last layer of each resolution: its volume, which follows
from its target state, times the entropy of all layers so far, less a penalty on unequal depths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
UNITS = {"high_ms": "ms", "weight_bytes": "bytes", "peak_bytes": "bytes"}
"""Of bounded quantities by name; all others are bare numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A quantity that adds up over the blocks, and its bound."""

    name: str
    """Such as `params`, `macs`, `weight_bytes` or `high_ms`."""
    unit: str
    """Its unit, for people."""
    limit: float
    """What it may be at most; above 0."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sum:
    """A number for each (a, b, m), as a sum of what depends on two of them, or on all three."""

    source: Array | float = 0.0
    """Of shape `[A, M]`, or `[A, 1]` for all modes alike."""
    target: Array | float = 0.0
    """Of shape `[B, M]`, or `[B, 1]`."""
    pair: Array | float = 0.0
    """Of shape `[A, B]`, or `[K, A, B]`: a table for each kind of mode."""
    whole: Array | None = None
    """Of shape `[A, B, M]`."""
    kinds: tuple[int, ...] = ()
    """Where `pair` has several tables: the one of each mode; they never fall."""

    def at(self, a: int, b: int, m: int) -> float:
        """The number."""
        pair = self.pair[self.kinds[m]] if self.kinds else self.pair  # type: ignore[index]
        value = _at(self.source, a, m) + _at(self.target, b, m) + _at(pair, a, b)
        return value if self.whole is None else value + float(self.whole[a, b, m])


def _at(array: Array | float, i: int, j: int) -> float:
    if isinstance(array, float):
        return array
    return float(array[i, min(j, array.shape[1] - 1)])


@dataclass(frozen=True, eq=False, kw_only=True)
class Again:
    """What one more copy of a layer's last block adds, by target state and mode: `[B, M]`."""

    entropy: Array
    log_width: Array
    convs: Array
    costs: Array
    """`[R, B, M]`: by resource."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """One step of the chain: its first block or blocks, and copies of the last."""

    name: str
    shape: tuple[int, int, int]
    """Numbers of source states, target states and modes."""
    entropy: Sum
    """In nats."""
    log_width: Sum
    """Sum of ln(c k^2 / g) over the convolutions, for the effectiveness."""
    convs: Sum
    """How many convolutions: the depth, for the effectiveness."""
    costs: tuple[Sum, ...]
    """By resource."""
    allowed: Sum = Sum()
    """0 where a combination is allowed, minus infinity elsewhere."""
    again: Again | None = None
    """One more copy; None where nothing is repeated."""
    copies: tuple[int, int] = (0, 0)
    """Least and largest number of further copies."""
    blocks: Sum = Sum()
    """How many blocks the first copy counts as in the depth that the penalty looks at; >= 0."""
    counted: bool = False
    """Whether the penalty looks at its depth: blocks of the first copy, and further copies."""
    volume: Array | None = None
    """`[B]`: weight times (ln C + ln H^2), if a scale ends behind the layer."""


class Step(NamedTuple):
    """The choice in one layer."""

    source: int
    target: int
    mode: int
    copies: int


Design = tuple[Step, ...]
"""One choice for each layer; each begins in the state in which the one before it ends."""


class Totals(NamedTuple):
    """The sums of a design."""

    raw: float
    """Score without the penalty; minus infinity if a combination is not allowed."""
    used: tuple[float, ...]
    """By resource."""
    log_width: tuple[float, ...]
    """Up to the end of each scale."""
    convs: tuple[float, ...]
    """Likewise."""


class _Added(NamedTuple):
    """What one step adds."""

    allowed: float
    entropy: float
    log_width: float
    convs: float
    costs: list[float]
    blocks: float
    volume: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a design comes to."""

    score: float
    """The objective."""
    used: tuple[float, ...]
    """By resource."""
    effectiveness: float
    """Largest depth over geometric-mean width of any scale."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Ceiling:
    """A bound on what the largest block of a network needs: see `nas.solver.ceiling`."""

    name: str
    """Such as `peak_bytes`."""
    unit: str
    limit: float
    """What it may be at most; above 0."""
    peaks: tuple[Peaks, ...]
    """By layer."""
    layers: tuple[Layer, ...]
    """The layers without this bound."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Peaks:
    """What the largest block of each combination of a layer needs."""

    first: Array
    """`[A, B, M]`: of the first copy."""
    again: Array
    """`[B, M]`: of all further ones; 0 where there are none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Programme:
    """A whole programme: maximise the score under all bounds."""

    layers: tuple[Layer, ...]
    resources: tuple[Resource, ...]
    effectiveness: float | None = None
    """Bound on depth over geometric-mean width (equation 10); None: none."""
    penalty: float = 10.0
    """Factor of exp(standard deviation of the counted layers' depths), section 3.5."""
    ceiling: Ceiling | None = None
    """Bound on what the largest block needs, which `allowed` holds already; None: none."""
    _steps: dict[tuple[int, Step], _Added] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for resource in self.resources:
            if not resource.limit > 0:
                raise ValueError(
                    f"the bound on {resource.name} must be above 0; got {resource.limit}"
                )
        if self.effectiveness is not None and not self.effectiveness > 0:
            raise ValueError(
                f"the bound on the effectiveness must be above 0; got {self.effectiveness}"
            )
        for layer, following in zip(self.layers, self.layers[1:], strict=False):
            if layer.shape[1] != following.shape[0]:
                raise ValueError(
                    f"layer {following.name} must begin in the {layer.shape[1]} states in which "
                    f"{layer.name} ends; it has {following.shape[0]}"
                )
        if self.layers[0].shape[0] != 1 or all(layer.volume is None for layer in self.layers):
            raise ValueError("the chain must begin in 1 state, and some layer must end a scale")

    def totals(self, design: Design) -> Totals:
        """The sums that a design comes to."""
        raw = entropy = log_width = convs = 0.0
        used = [0.0] * len(self.resources)
        widths, depths = [], []
        for index, step in enumerate(design):
            more = self.added(index, step)
            raw += more.allowed
            entropy += more.entropy
            log_width += more.log_width
            convs += more.convs
            used = [a + b for a, b in zip(used, more.costs, strict=True)]
            if more.volume is not None:
                raw += more.volume * entropy
                widths.append(log_width)
                depths.append(convs)
        return Totals(raw, tuple(used), tuple(widths), tuple(depths))

    def added(self, index: int, step: Step) -> _Added:
        """What one step adds to the sums of a design."""
        found = self._steps.get((index, step))
        if found is None:
            found = self._steps[index, step] = self._add(index, step)
        return found

    def _add(self, index: int, step: Step) -> _Added:
        layer, n = self.layers[index], step.copies
        place, here = (step.source, step.target, step.mode), (step.target, step.mode)
        entropy, log_width = layer.entropy.at(*place), layer.log_width.at(*place)
        convs, costs = layer.convs.at(*place), [cost.at(*place) for cost in layer.costs]
        if layer.again is not None:
            entropy += n * float(layer.again.entropy[here])
            log_width += n * float(layer.again.log_width[here])
            convs += n * float(layer.again.convs[here])
            costs = [c + n * float(layer.again.costs[(i, *here)]) for i, c in enumerate(costs)]
        volume = None if layer.volume is None else float(layer.volume[step.target])
        blocks = layer.blocks.at(*place) + n
        return _Added(layer.allowed.at(*place), entropy, log_width, convs, costs, blocks, volume)

    def figures(self, design: Design) -> Figures:
        """Score and use of a design, whether or not it keeps the bounds."""
        totals = self.totals(design)
        worst = 0.0
        for log_width, convs in zip(totals.log_width, totals.convs, strict=True):
            if convs:
                worst = max(worst, convs / math.exp(log_width / convs))
        score = totals.raw - self.unevenness(self.depths(design))
        return Figures(score=score, used=totals.used, effectiveness=worst)

    def depths(self, design: Design) -> list[float]:
        """The depths that the penalty looks at."""
        return [self.added(index, design[index]).blocks for index in self.counted]

    @property
    def counted(self) -> list[int]:
        """The layers whose depths the penalty looks at."""
        return [index for index, layer in enumerate(self.layers) if layer.counted]

    def unevenness(self, depths: Sequence[float]) -> float:
        """The penalty on unequal depths. Depths of 0 are left out; else it is convex in them."""
        depths = [depth for depth in depths if depth > 0]
        mean = sum(depths) / max(1, len(depths))
        spread = sum((depth - mean) ** 2 for depth in depths) / max(1, len(depths))
        return self.penalty * math.exp(min(700.0, math.sqrt(spread)))

    def excess(self, figures: Figures) -> dict[str, float]:
        """Bounds that are not kept, and by which part of the bound each is exceeded."""
        bounds = [
            (r.name, used, r.limit) for r, used in zip(self.resources, figures.used, strict=True)
        ]
        if self.effectiveness is not None:
            bounds.append(("effectiveness", figures.effectiveness, self.effectiveness))
        return {
            name: used / limit - 1 for name, used, limit in bounds if used > limit * (1 + 1e-12)
        }
