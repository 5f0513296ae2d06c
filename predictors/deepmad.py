"""DeepMAD's scores of structures in closed form, as the paper has them and as its toolbox does.

Shen et al., "DeepMAD: Mathematical Architecture Design for Deep Convolutional Neural Network" (CVPR
2023, arXiv 2303.02165), sections 3.2 to 3.5. A block's entropy is h = (1/2) sum ln(c k^2 / g) over
its convolutions; a stage ends before each stride of 2; with H_i the sum of h over all blocks up to
the end of stage i, which has C_i channels and the height R_i,

    raw = sum_i alpha_i (ln C_i + ln R_i^2) H_i,     alpha = 1, .., 1, 8,
    score = raw - 10 exp(std of the super-blocks' depths),
    effectiveness = max_i D_i / exp(2 H_i / D_i),    D_i convolutions up to there.

`form="paper"` is that. `form="toolbox"` is what alibaba/lightweight-neural-architecture-search
computes, from which the published figures are; it departs in four points:

- after squeeze-excite a map's height counts as 1, so that ln R_i^2 is 0 from there on;
- where the first super-block is a `SuperResK1KXK1`, the depths of the first two super-blocks are
  left out of the penalty (two pieces of code drop one each), and there must be five;
- there must be five stages;
- bits do not change the score, whereas in the paper's form each convolution's term gains
  ln(q(sA, bA) q(sW, bW) / sA), as in `predictors.entropy`.

`predictors.entropy` scores any traced network, and takes as a stage's depth the blocks that keep
their shape; here it is a super-block's number of blocks, as in the paper.

`maedet` and `qe_score` are the two scores that came before it, of which the toolbox knows one form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, get_args

import numpy as np

from predictors.entropy import DEPTH_PENALTY, LAST_WEIGHT, quantization_gain
from predictors.structure import CONVOLUTIONS, DENSE, GATED, Structure, StructureError
from predictors.structure_cost import Number, PartLike

Form = Literal["paper", "toolbox"]
MULTI_SCALE = (0.0, 0.0, 1.0, 1.0, 6.0)
"""Weights of the stages in MAE-DET's score and in the QE-score, as the toolbox sets them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A structure up to the end of one stage; an array with one entry a design, for many."""

    blocks: Number
    """Blocks so far; a plain convolution is one."""
    layers: Number
    """Convolutions so far, shortcuts left out."""
    channels: Number
    """Channels that leave."""
    height: int
    """Height that leaves."""
    entropy: Number
    """Sum of (1/2) ln(c k^2 / g) so far, in nats."""
    gain: float = 0.0
    """Sum of the quantization-aware terms so far, in nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """DeepMAD's score, and what it is made of."""

    stages: tuple[Stage, ...]
    """First to last."""
    raw: Number
    """Weighted entropies, in nats."""
    penalty: Number
    """What uneven depths cost."""
    effectiveness: Number
    """Largest depth over geometric-mean width of any stage."""

    @property
    def value(self) -> Number:
        """The score: larger is better."""
        return self.raw - self.penalty


def deepmad(structure: Structure, resolution: int = 224, *, form: Form = "paper") -> Score:
    """DeepMAD's score of a structure for square images; `form` as the module says.

    Raises:
        StructureError: the resolution does not suit the structure, there is no such form, or the
            toolbox's form does not cover the structure.
    """
    return score(structure.parts, structure.sizes(resolution), form)


def score(parts: Sequence[PartLike], sizes: Sequence[int], form: Form) -> Score:
    """DeepMAD's score of parts in a row, of one design or of many.

    Args:
        parts: first to last.
        sizes: heights of the input and of each part's output.
        form: see the module.
    """
    if form not in get_args(Form):
        raise StructureError(f"the form must be one of {', '.join(get_args(Form))}; got '{form}'")
    toolbox = form == "toolbox"
    found = stages(parts, _toolbox_sizes(parts, sizes[0]) if toolbox else sizes)
    if toolbox and len(found) != len(MULTI_SCALE):
        raise StructureError(_five("stages", len(found)))
    weights = [*[1.0] * (len(found) - 1), LAST_WEIGHT]
    raw: Number = 0.0
    for weight, stage in zip(weights, found, strict=True):
        gain = 0.0 if toolbox else stage.gain
        volume = np.log(stage.channels) + 2 * np.log(stage.height)
        raw = raw + weight * volume * (stage.entropy + gain)
    effectiveness = [stage.layers / np.exp(2 * stage.entropy / stage.layers) for stage in found]
    return Score(
        stages=found,
        raw=raw,
        penalty=_penalty(parts, toolbox),
        effectiveness=reduce(np.maximum, effectiveness),
    )


def maedet(structure: Structure, weights: Sequence[float] = MULTI_SCALE) -> float:
    """MAE-DET's score of a structure, in nats: sum_i w_i (ln C_i + H_i), in float.

    Sun et al., "MAE-DET: Revisiting Maximum Entropy Principle in Zero-Shot NAS for Efficient Object
    Detection" (ICML 2022, arXiv 2111.13336), as the toolbox computes it ("madnas"): the variance of
    a map is the product of the fan-ins before it, constants are dropped.

    Raises:
        StructureError: there are not as many stages as weights.
    """
    return _multi_scale(structure, weights, quantized=False)


def qe_score(structure: Structure, weights: Sequence[float] = MULTI_SCALE) -> float:
    """The same with each convolution's gain by its bits: the QE-score, in nats.

    Sun et al., "Entropy-Driven Mixed-Precision Quantization for Deep Network Design" (NeurIPS
    2022), with the deviations that the toolbox ships: 4 for weights, 5 for activations.

    Raises:
        StructureError: the structure has no bits, or not as many stages as there are weights.
    """
    if not structure.quantized:
        raise StructureError("the QE-score needs the bits of every part ('nbitsA', 'nbitsW')")
    return _multi_scale(structure, weights, quantized=True)


def stages(parts: Sequence[PartLike], sizes: Sequence[int]) -> tuple[Stage, ...]:
    """The stages of parts in a row; arguments as of `score`."""
    found: list[Stage] = []
    blocks: Number = 0
    layers: Number = 0
    entropy: Number = 0.0
    gain = 0.0
    for index, part in enumerate(parts):
        blocks = blocks + (part.depth if part.is_super else 1)
        layers = layers + (CONVOLUTIONS * part.depth if part.is_super else 1)
        entropy = entropy + _entropy(part)
        gain += sum(quantization_gain(weight, act) for act, weight in part.bits or ())
        if index + 1 == len(parts) or parts[index + 1].s > 1:
            found.append(
                Stage(
                    blocks=blocks,
                    layers=layers,
                    channels=part.out,
                    height=sizes[index + 1],
                    entropy=entropy,
                    gain=gain,
                )
            )
    return tuple(found)


def _entropy(part: PartLike) -> Number:
    """Sum of (1/2) ln(c k^2 / g) over the convolutions of a part."""
    if not part.is_super:
        return np.log(part.ins * part.k**2) / 2
    inner = part.k**2 * part.btn * (part.btn if part.kind == DENSE else 1)
    return (np.log(part.ins * inner) + (part.depth - 1) * np.log(part.out * inner)) / 2


def _penalty(parts: Sequence[PartLike], toolbox: bool) -> Number:
    """10 exp(std of the super-blocks' depths)."""
    depths = [part.depth for part in parts if part.is_super]
    if toolbox and len(parts) > 1 and parts[1].kind == DENSE:
        if len(depths) != len(MULTI_SCALE):
            raise StructureError(_five("super-blocks", len(depths)))
        depths = depths[2:]
    if not depths:
        return DEPTH_PENALTY
    mean = sum(depths) / len(depths)
    variance = sum((depth - mean) ** 2 for depth in depths) / len(depths)
    return DEPTH_PENALTY * np.exp(variance**0.5)


def _toolbox_sizes(parts: Sequence[PartLike], resolution: int) -> list[int]:
    sizes = [resolution]
    for part in parts:
        sizes.append(1 if part.kind == GATED else sizes[-1] // part.s)
    if 0 in sizes:
        raise StructureError(
            "in the toolbox's form a map after squeeze-excite has the height 1, so that no stride "
            "may follow but in another super-block of the kind: use form='paper'"
        )
    return sizes


def _multi_scale(structure: Structure, weights: Sequence[float], *, quantized: bool) -> float:
    found = stages(structure.parts, structure.sizes(structure.stride))
    if len(found) != len(weights):
        raise StructureError(f"{len(weights)} weights need as many stages; got {len(found)}")
    return float(
        sum(
            weight * (np.log(stage.channels) + stage.entropy + quantized * stage.gain)
            for weight, stage in zip(weights, found, strict=True)
        )
    )


def _five(what: str, count: int) -> str:
    return f"the toolbox's form needs {len(MULTI_SCALE)} {what}; got {count}: use form='paper'"
