"""What the modules that stand for an operator share.

Their parameters are those of the layer that is replaced, the same objects where nothing was folded
into them, without gradients.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn


class Layer(nn.Module):
    """One operator, with an activation behind it where it has one."""

    operation: ClassVar[str]
    """Name among `OPERATORS`."""
    folds: ClassVar[bool] = False
    """Whether it can take in the batch norm behind it."""
    fuses: ClassVar[bool] = True
    """Whether it can take in the activation behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = "none"

    def extra_repr(self) -> str:
        """Shape of the weight and the activation."""
        weight = getattr(self, "weight", None)
        shape = "" if weight is None else f"weight={list(weight.shape)}, "
        return f"{shape}activation={self.activation}" if self.fuses else shape.rstrip(", ")


class Keywords(nn.Module):
    """A module in the place of one that is called with keywords."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        """Take the module, whose arguments are positional, and the names that callers know."""
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *args: object, **kwargs: object) -> Tensor:
        """As the module's."""
        rest = [kwargs[name] for name in self.names[len(args) :] if name in kwargs]
        y: Tensor = self.module(*args, *rest)
        return y


def kept(tensor: Tensor) -> nn.Parameter:
    """The tensor as a parameter without gradients: itself if it is one."""
    if isinstance(tensor, nn.Parameter) and not tensor.requires_grad:
        return tensor
    return nn.Parameter(tensor.detach(), requires_grad=False)


def maybe(tensor: Tensor | None) -> nn.Parameter | None:
    """As `kept`, where there may be none."""
    return None if tensor is None else kept(tensor)
