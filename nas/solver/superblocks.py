"""DeepMAD's own programme: a stem, super-blocks of one kind, and perhaps a last convolution.

All designs of a template in closed form (`predictors.structure_cost`, `predictors.deepmad`), to be
solved without a grammar, data or a device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nas.solver.programme import Again, Array, Design, Layer, Programme, Resource, Sum
from predictors.deepmad import Form
from predictors.entropy import DEPTH_PENALTY, LAST_WEIGHT
from predictors.structure import CONVOLUTIONS, DENSE, GATED, PLAIN, SUPER_BLOCKS, Part, Structure
from predictors.structure_cost import Counts, part_counts

RESOURCES = {"params": "", "flops": "", "macs": ""}
"""What can be bounded, with its unit: `flops` are those of the toolbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One part of a template: all that it may be."""

    kind: str
    """As `Part.kind`."""
    stride: int
    """1 or 2."""
    widths: Sequence[int]
    """Channels that may leave, rising."""
    mids: Sequence[int] = ()
    """Channels within blocks, rising."""
    kernels: Sequence[int] = (3,)
    """Kernel sizes."""
    depths: tuple[int, int] = (1, 1)
    """Least and largest number of blocks."""

    @property
    def modes(self) -> list[tuple[int, int]]:
        """Width within blocks and kernel size, the narrowest first."""
        return [(mid, k) for mid in (self.mids or (0,)) for k in self.kernels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A row of places."""

    places: tuple[Place, ...]
    resolution: int = 224
    """Height of the images, a multiple of all strides together."""
    form: Form = "paper"
    """Of the score, as in `predictors.deepmad`."""
    rising: bool = True
    """Whether widths may not fall from one super-block to the next."""

    def programme(
        self,
        *,
        params: float | None = None,
        flops: float | None = None,
        macs: float | None = None,
        effectiveness: float | None = None,
    ) -> Programme:
        """The programme under some bounds.

        Raises:
            ValueError: no bound is given, or one is not above 0.
        """
        bounds = {"params": params, "flops": flops, "macs": macs}
        resources = tuple(
            Resource(name=name, unit=RESOURCES[name], limit=limit)
            for name, limit in bounds.items()
            if limit is not None
        )
        return Programme(
            layers=tuple(self._layers([resource.name for resource in resources])),
            resources=resources,
            effectiveness=effectiveness,
            penalty=DEPTH_PENALTY,
        )

    def structure(self, design: Design) -> Structure:
        """The structure that a design of the programme stands for."""
        parts, width = [], 3
        for place, step in zip(self.places, design, strict=True):
            mid, kernel = place.modes[step.mode]
            out = place.widths[step.target]
            part = Part(kind=PLAIN, ins=width, out=out, k=kernel, s=place.stride)
            if place.kind in SUPER_BLOCKS:
                part = replace(part, kind=place.kind, btn=mid, depth=1 + step.copies)
            parts.append(part)
            width = out
        return Structure(tuple(parts))

    def _layers(self, names: Sequence[str]) -> list[Layer]:
        layers, sources = [], np.array([3.0])
        height, blind = self.resolution, False
        supers = [i for i, place in enumerate(self.places) if place.kind in SUPER_BLOCKS]
        passed = 0
        if self.form == "toolbox" and supers and self.places[supers[0]].kind == DENSE:
            passed = 2  # the toolbox leaves the first two out of the penalty
        for index, place in enumerate(self.places):
            targets = np.array(place.widths, dtype=float)
            left = height // place.stride
            blind = blind or (self.form == "toolbox" and place.kind == GATED)
            last = index + 1 == len(self.places)
            volume = None
            if last or self.places[index + 1].stride > 1:
                weight = LAST_WEIGHT if last else 1.0
                volume = weight * (np.log(targets) + 2 * math.log(1 if blind else left))
            layers.append(
                _layer(
                    place,
                    index,
                    sources,
                    targets,
                    height,
                    names,
                    volume=volume,
                    counted=index in supers[passed:],
                    rising=self.rising and index > 0 and place.kind in SUPER_BLOCKS,
                )
            )
            sources, height = targets, left
        return layers


def _layer(
    place: Place,
    index: int,
    sources: Array,
    targets: Array,
    height: int,
    names: Sequence[str],
    *,
    volume: Array | None,
    counted: bool,
    rising: bool,
) -> Layer:
    mids, kernels = np.array(place.modes, dtype=float).T
    repeats = place.kind in SUPER_BLOCKS
    inner = np.log(kernels**2)
    if repeats:
        inner = inner + np.log(mids) * (2 if place.kind == DENSE else 1)
    width = Sum(source=np.log(sources)[:, None] + inner[None])
    allowed = Sum()
    if rising:
        allowed = Sum(pair=np.where(sources[:, None] <= targets, 0.0, -np.inf))
    again = None
    if repeats:
        log_width = np.log(targets)[:, None] + inner
        again = Again(
            entropy=log_width / 2,
            log_width=log_width,
            convs=np.full(log_width.shape, float(CONVOLUTIONS)),
            costs=_again(place, targets, mids, kernels, height, names),
        )
    assert isinstance(width.source, np.ndarray)
    return Layer(
        name=f"{index}: {place.kind}",
        shape=(len(sources), len(targets), len(mids)),
        entropy=Sum(source=width.source / 2),
        log_width=width,
        convs=Sum(source=np.full((len(sources), 1), float(CONVOLUTIONS if repeats else 1))),
        costs=_first(place, sources, targets, mids, kernels, height, names),
        allowed=allowed,
        again=again,
        copies=(place.depths[0] - 1, place.depths[1] - 1),
        blocks=Sum(pair=np.ones((len(sources), len(targets)))),
        counted=counted,
        volume=volume,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """A part whose numbers are arrays."""

    kind: str
    s: int
    ins: Array
    out: Array
    k: Array
    btn: Array
    depth: Array
    bits: None = None

    @property
    def is_super(self) -> bool:
        return self.kind in SUPER_BLOCKS


def _counts(
    place: Place, ins: Array, out: Array, mids: Array, kernels: Array, depth: float, height: int
) -> Counts:
    a, b, k, m, d = np.broadcast_arrays(ins, out, kernels, mids, np.asarray(depth))
    return part_counts(_Parts(place.kind, place.stride, a, b, k, m, d), height)


def _first(
    place: Place,
    sources: Array,
    targets: Array,
    mids: Array,
    kernels: Array,
    height: int,
    names: Sequence[str],
) -> tuple[Sum, ...]:
    """Costs of the first block, taken apart: all terms are products of two of the widths."""
    zero = np.zeros((1, 1))
    a, b = sources[:, None], targets[:, None]
    base = _counts(place, zero, zero, mids, kernels, 1, height)
    by_source = _counts(place, a, zero, mids, kernels, 1, height)
    by_target = _counts(place, zero, b, mids, kernels, 1, height)
    m, k = mids[:1], kernels[:1]
    pairs = _counts(place, a, targets[None], m, k, 1, height)
    found = []
    for name in names:
        both, source, target, start = (
            np.asarray(getattr(counts, name), dtype=float)
            for counts in (pairs, by_source, by_target, base)
        )
        found.append(
            Sum(
                source=source,
                target=target - start,
                pair=both - source[:, :1] - target[:, :1].T + start[0, 0],
            )
        )
    return tuple(found)


def _again(
    place: Place, targets: Array, mids: Array, kernels: Array, height: int, names: Sequence[str]
) -> Array:
    one, two = (
        _counts(place, targets[:, None], targets[:, None], mids, kernels, depth, height)
        for depth in (1, 2)
    )
    return np.stack([np.asarray(getattr(two, n) - getattr(one, n), dtype=float) for n in names])


def dense(
    *,
    widths: Sequence[int],
    mids: Sequence[int],
    kernels: Sequence[int] = (3, 5),
    depths: tuple[int, int] = (1, 30),
    form: Form = "paper",
    strides: Sequence[int] = (2, 2, 2, 1, 2),
) -> Template:
    """The template of DeepMAD's ResNet-like networks: a stem and `SuperResK1KXK1`."""
    stem = Place(kind=PLAIN, stride=2, widths=[w for w in widths if w <= 256])
    blocks = [
        Place(kind=DENSE, stride=s, widths=widths, mids=mids, kernels=kernels, depths=depths)
        for s in strides
    ]
    return Template(places=(stem, *blocks), form=form)


def gated(
    *,
    widths: Sequence[int],
    mids: Sequence[int],
    tops: Sequence[int],
    kernels: Sequence[int] = (3, 5),
    depths: tuple[int, int] = (1, 20),
    form: Form = "paper",
    strides: Sequence[int] = (2, 2, 2, 2, 1),
) -> Template:
    """The template of its mobile-like networks: `SuperResK1DWSEK1`, then a 1 x 1 convolution."""
    stem = Place(kind=PLAIN, stride=2, widths=[w for w in widths if w <= 256])
    blocks = [
        Place(kind=GATED, stride=s, widths=widths, mids=mids, kernels=kernels, depths=depths)
        for s in strides
    ]
    last = Place(kind=PLAIN, stride=1, widths=tops, kernels=(1,))
    return Template(places=(stem, *blocks, last), form=form)
