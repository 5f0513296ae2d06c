"""A path that is dropped at random in training, and the schedule of how often."""

from __future__ import annotations

from torch import Tensor, nn

from searchspace.primitives.base import Parameter, Primitive


class DropPath(nn.Module):
    """In training, zeros for some samples and the input, scaled up, for the others.

    ScheduledDropPath (Zoph et al., NASNet, arXiv 1707.07012): the probability grows linearly from 0
    to `percent` over the training. `progress`, 0 .. 1, is how far it has grown; it stays 0, and the
    layer the identity, until a training loop sets it. What is kept is divided by the probability of
    being kept, so its mean stays. Draws from torch's global generator.
    """

    def __init__(self, percent: int) -> None:
        super().__init__()
        self.percent, self.progress = percent, 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        keep = 1 - self.progress * self.percent / 100
        if not self.training or keep == 1:
            return x
        kept = x.new_empty((len(x),) + (1,) * (x.dim() - 1)).bernoulli_(keep)
        return x * (kept / keep)


def schedule_drop_path(network: nn.Module, progress: float) -> None:
    """Set how far every `DropPath` of a network is from 0 to its full probability.

    Args:
        network: in it.
        progress: 0 at the start of a training, 1 at the end.

    Raises:
        ValueError: `progress` lies outside of 0 .. 1.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must lie in 0 .. 1; got {progress}")
    for module in network.modules():
        if isinstance(module, DropPath):
            module.progress = progress


PRIMITIVES = (
    Primitive(
        name="drop_path",
        summary="dropped at random in training, ever more often (NASNet, arXiv 1707.07012)",
        module=DropPath,
        parameters=(Parameter(name="percent", most=99),),
        arguments=lambda spec, v: {"percent": v["percent"]},
        total=True,
    ),
)
