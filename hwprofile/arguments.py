"""One call's arguments, sorted into what a record tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hwprofile.op_rules import OpRule, as_attribute, is_recorded
from hwprofile.record import Attribute, Weight


class Arguments:
    """Tensors that depend on the inputs, parameters and constants, and plain values."""

    __slots__ = ("attrs", "inputs", "places", "read", "tensors", "weights")

    def __init__(
        self, ids: Mapping[int, int], rule: OpRule, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Sort them.

        Args:
            ids: Identifiers of the tensors that depend on the inputs, by `id`.
            rule: The operation's.
            args: Positional arguments.
            kwargs: Named ones.
        """
        self.inputs: list[int] = []
        self.read: list[torch.Tensor] = []
        """The tensors that depend on the inputs."""
        self.tensors: list[torch.Tensor] = []
        """All tensors, in order."""
        self.weights: list[torch.Tensor] = []
        """Parameters, buffers and constants."""
        self.places: list[int] = []
        """Where each weight stands among the tensors."""
        self.attrs: dict[str, Attribute] = dict(rule.defaults)
        for name, value in zip(rule.arguments, args, strict=False):
            self._sort(ids, name, value)
        for name, value in kwargs.items():
            self._sort(ids, name, value)

    def _sort(self, ids: Mapping[int, int], name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            known = ids.get(id(value))
            if known is None:
                self.places.append(len(self.tensors))
                self.weights.append(value)
            else:
                self.inputs.append(known)
                self.read.append(value)
            self.tensors.append(value)
        elif value is None:
            return
        elif isinstance(value, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in value):
            for item in value:
                self._sort(ids, name, item)
        elif is_recorded(name):
            self.attrs[name] = as_attribute(value)

    def described(self) -> tuple[Weight, ...]:
        """The weights as a record has them."""
        pairs = zip(self.weights, self.places, strict=True)
        return tuple([_weight(tensor, place) for tensor, place in pairs])


def _weight(tensor: torch.Tensor, place: int) -> Weight:
    numel = tensor.numel()
    if not tensor.is_contiguous():
        # An expanded constant is stored once; a slice of a parameter reads its own part alone.
        numel = min(numel, tensor.untyped_storage().nbytes() // tensor.element_size())
    shape, strides = tuple(tensor.shape), tensor.stride()
    return Weight(shape, numel, strides, place, tensor.requires_grad)
