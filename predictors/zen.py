"""Zen-score: how much a random network, its normalisation taken back, stretches a small change.

Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition" (ICCV 2021, arXiv
2102.01063), algorithm 1, by forward passes alone: with Gaussian weights, x ~ N(0, I), e ~ N(0, I),

    zen = ln mean |f(x) - f(x + 0.01 e)|_1 + sum over norms of ln sqrt(mean variance),

f the network up to its pooling, the mean taken over images. Norms divide by the deviations of what
they get, and the sum puts these back. The norm |.|_1 is that of the authors' code
(idstcv/ZenNAS at d1d617e), where the paper writes that of Frobenius.

Departures from that code:

- variances are those that a batch norm divides by; the code reads its running variance, of which
  after the two passes of its first repeat 81 % is still the initial 1;
- layer, group and RMS norms are put back too, as the code's networks have batch norm alone;
- shortcuts stay, as they are part of the architecture; the code's searches remove them;
- weights that are neither a convolution's nor a linear layer's keep their initial values;
- 2 repeats of 4 images instead of 32 of 16, from fixed seeds: a network has one score.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from hwprofile.estimate import Estimate
from predictors.base import Context
from searchspace.architecture import Architecture
from searchspace.build import calls, leaves, module_of
from searchspace.primitives.norm import LayerNorm, RMSNorm
from searchspace.shapes import TensorSpec
from searchspace.tree import Node

STEP = 0.01
"""Deviation of the change of the input."""
_BATCH, _REPEATS = 4, 2
_LEAST = 1e-30
"""Change of the output that counts as none."""
_LIMITS = (1e-6, 1e6)
"""Deviations of a map beyond which it is scaled back, lest nets without norms overflow."""
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_NORMS = (*_BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)


class ZenPredictor:
    """Zen-score as a quality predictor; needs no fitting, but forward passes of every network."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def fit(self, architectures: Sequence[Architecture], values: Sequence[float]) -> None:
        """Learns nothing: the score is of untrained weights."""

    def predict(self, architectures: Sequence[Architecture]) -> Sequence[Estimate]:
        """Mean of the repeats in nats; the range is that of the repeats."""
        found = []
        for architecture in architectures:
            scores = zen_scores(architecture.root, self._context.spec)
            mean = math.fsum(scores) / len(scores)
            found.append(Estimate(value=mean, low=min(scores), high=max(scores), unit="nats"))
        return found


def zen_scores(
    root: Node, spec: TensorSpec, *, batch: int = _BATCH, repeats: int = _REPEATS
) -> list[float]:
    """Zen-score of a network, once for each of the seeds 0, 1, …

    Finite for any network: one whose output ignores its input has about -69 and its norms' part.

    Args:
        root: a whole tree; what follows the last image or tokens is left out.
        spec: of the input.
        batch: images in a pass, at least 2, as batch norm has no variance of one.
        repeats: how many seeds.

    Raises:
        ValueError: the batch is too small, or there are no repeats.
        ShapeError: a primitive does not serve the shape that reaches it.
    """
    if batch < 2 or repeats < 1:
        raise ValueError(f"zen needs 2 images and 1 repeat at least; got {batch} and {repeats}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums keep their order, whatever the machine has
    try:
        return [_zen(root, spec, batch, seed) for seed in range(repeats)]
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def _zen(root: Node, spec: TensorSpec, batch: int, seed: int) -> float:
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = list(_layers(root, spec))
    logs: list[float] = []
    for layer in layers:
        _prepare(layer, random, logs)
    shape = (batch, *spec.shape)
    x, change = (torch.randn(shape, generator=random) for _ in range(2))
    changed, scale = x + STEP * change, 0.0
    for layer in layers:
        x = layer(x)
        mute = len(logs)
        changed = layer(changed)
        del logs[mute:]  # only the first of the two passes is put back
        deviation = float(x.std())
        if math.isfinite(deviation) and deviation > 0 and not _LIMITS[0] < deviation < _LIMITS[1]:
            x, changed = x / deviation, changed / deviation
            scale += math.log(deviation)
    stretch = float((x - changed).abs().flatten(1).sum(1).mean())
    if not math.isfinite(stretch):
        stretch = _LEAST
    return math.log(max(stretch, _LEAST)) + scale + math.fsum(logs)


def _layers(root: Node, spec: TensorSpec) -> Iterator[nn.Module]:
    """The primitives before the pooling, freshly initialised."""
    for leaf in leaves(root):
        (call,), spec = calls((leaf,), spec)
        if spec.mode == "vector":
            return
        yield module_of(call)


def _prepare(layer: nn.Module, random: torch.Generator, logs: list[float]) -> None:
    """Gaussian weights, norms without a scale of their own that tell what they divide by."""

    def told(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        logs.append(_log_deviation(norm, inputs[0]))

    layer.eval()  # no path is dropped
    for module in layer.modules():
        if isinstance(module, _WEIGHTED):
            nn.init.normal_(module.weight, generator=random)
        elif isinstance(module, _NORMS):
            if module.weight is not None:
                nn.init.ones_(module.weight)
            module.train(isinstance(module, _BATCH_NORMS))  # by the statistics of the batch
            module.register_forward_pre_hook(told)
        bias = getattr(module, "bias", None)
        if isinstance(module, (*_WEIGHTED, *_NORMS)) and isinstance(bias, Tensor):
            nn.init.zeros_(bias)


def _log_deviation(norm: nn.Module, x: Tensor) -> float:
    """ln sqrt of the mean of the variances that a norm divides by."""
    if isinstance(norm, (LayerNorm, RMSNorm)) and x.dim() == 4:
        x = x.movedim(1, -1)  # these two normalise the channels of images
    if isinstance(norm, _BATCH_NORMS):
        variance = x.transpose(0, 1).flatten(1).var(1, correction=0)
    elif isinstance(norm, nn.GroupNorm):
        variance = x.reshape(len(x), norm.num_groups, -1).var(2, correction=0)
    elif isinstance(norm, nn.RMSNorm):
        variance = x.square().flatten(-len(norm.normalized_shape)).mean(-1)
    else:
        assert isinstance(norm, nn.LayerNorm)
        variance = x.flatten(-len(norm.normalized_shape)).var(-1, correction=0)
    mean = float(variance.mean())
    return math.log(max(mean, _LEAST)) / 2 if math.isfinite(mean) else 0.0
