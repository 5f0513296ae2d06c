"""What an optimisation replaced, what it left, and how far the results lie apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch

TOLERANCES: dict[torch.dtype, float] = {
    torch.float64: 1e-8,
    torch.float32: 1e-4,
    torch.float16: 1e-2,
    torch.bfloat16: 6e-2,
}
"""By dtype, the largest difference allowed, as a share of the largest value. Wider than the
kernels' own: a folded weight is rounded once more, and differences add up along a network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """One operator, and the modules whose work it does."""

    path: str
    """Path in the original of the first module that it stands for; empty for the network."""
    operation: str
    """Operator of `kernels.library`, or `torch.conv2d` where only a batch norm was folded."""
    covers: tuple[str, ...]
    """Paths in the original of all modules that it stands for. The later ones became identities; a
    residual connection became the sum at the end of its last operator."""
    kinds: tuple[str, ...]
    """Class names of `covers`."""
    error: float
    """Largest difference from those modules on the check's input, as a share of the largest
    value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One module that stays as it is."""

    path: str
    """Its path; empty for the network."""
    kind: str
    """Its class name."""
    reason: str
    """Why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a network."""

    replaced: tuple[Replaced, ...]
    """In the order in which they run."""
    left: tuple[Left, ...]
    """Modules without children that stay; what a forward pass computes itself is no module."""
    error: float
    """Largest difference of the whole network's output, as a share of its largest value."""
    tolerance: float
    """What no error may pass, as a share of the largest value."""

    def __str__(self) -> str:
        """A table for people."""
        lines = [f"{len(self.replaced)} replaced, error {self.error:.1e} of {self.tolerance:.0e}"]
        lines += [
            f"  {r.path or '(whole)'}: {' + '.join(r.kinds)} -> {r.operation}"
            for r in self.replaced
        ]
        if self.left:
            lines.append(f"{len(self.left)} left")
            reasons = Counter((entry.kind, entry.reason) for entry in self.left)
            lines += [f"  {n} x {kind}: {reason}" for (kind, reason), n in reasons.items()]
        return "\n".join(lines)
