"""MAE-DET's training-free score of any traced network: the entropy of its last three scales.

Sun et al., "MAE-DET: Revisiting Maximum Entropy Principle in Zero-Shot NAS for Efficient Object
Detection" (ICML 2022, arXiv 2111.13336). The entropy of a Gaussian map grows with the logarithm of
its variance, and behind convolutions with weights N(0, 1) the variance is the product of their
fan-ins; so scale i is worth ln C_i + (1/2) sum ln(c k^2 / g), its constants dropped, and a network
the sum over its scales with the weights 0, .., 0, 1, 1, 6 (of five scales 0, 0, 1, 1, 6).

This is the closed form, of which `predictors.deepmad.maedet` is the one for DeepMAD's structures,
and which is equal to the authors' there. Departures: as in `predictors.entropy`, whose scales these
are, only taps that see input count, and where paths meet in a sum the larger counts. The paper
measures the variances of forward passes without norms instead, in which a sum adds the variances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hwprofile.blocks import Costs
from hwprofile.estimate import Estimate
from predictors.base import Context
from predictors.entropy import EntropyPredictor
from searchspace.architecture import Architecture

LAST_WEIGHTS = (1.0, 1.0, 6.0)
"""Weights of the last scales; those before weigh nothing."""


class MaeDetPredictor:
    """MAE-DET's score as a quality predictor; needs no fitting."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._entropy = EntropyPredictor(context)

    def fit(self, architectures: Sequence[Architecture], values: Sequence[float]) -> None:
        """Learns nothing: the score follows from the structure alone."""

    def predict(self, architectures: Sequence[Architecture]) -> Sequence[Estimate]:
        """The scores, each exact: the range is the value itself."""
        scores = [self.score(self._context.costs(a)) for a in architectures]
        return [Estimate(value=s, low=s, high=s, unit="nats") for s in scores]

    def score(self, costs: Costs) -> float:
        """Score of traced costs, in nats; where precision is searched, the QE-score.

        A network of fewer than three scales has the weights of the last ones, one without any is
        worth 0.
        """
        scales = list(self._entropy.scales(costs.blocks))[-len(LAST_WEIGHTS) :]
        weights = LAST_WEIGHTS[len(LAST_WEIGHTS) - len(scales) :]
        return sum(
            weight * (math.log(scale.channels) + scale.flow.log_width / 2 + scale.gain)
            for weight, scale in zip(weights, scales, strict=True)
        )
