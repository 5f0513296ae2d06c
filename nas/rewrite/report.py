"""What an optimisation replaced, what it left, and how far the results lie apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """One operator, and the modules whose work it does."""

    path: str
    """Path of the new module: that of the first that it stands for; empty for the network."""
    operation: str
    """Operator of `kernels.library`, or `torch.conv2d` where only a batch norm was folded."""
    covers: tuple[str, ...]
    """Paths of all modules that it stands for; the later ones became identities."""
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
