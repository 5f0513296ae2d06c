"""What shape flows where, by arithmetic alone.

Dimension letters: C channels, H height, W width, N tokens, D features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Literal

Mode = Literal["image", "tokens", "vector"]


class ShapeError(ValueError):
    """A primitive met a shape that it does not serve.

    Arguments are joined to the message only where it is read: derivations meet many misfits.
    """

    def __str__(self) -> str:
        return "".join(map(str, self.args))


@dataclass(frozen=True, slots=True, eq=False)
class TensorSpec:
    """Mode and shape of a tensor, without the batch."""

    mode: Mode
    """`image` is `[C, H, W]`, `tokens` is `[N, D]`, `vector` is `[C]`."""
    shape: tuple[int, ...]
    """Sizes, each at least 1."""

    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.mode, self.shape)))
        rank = {"image": 3, "tokens": 2, "vector": 1}[self.mode]
        if len(self.shape) != rank or min(self.shape) < 1:
            raise ShapeError(f"{self.mode} needs {rank} sizes of at least 1; got {self.shape}")

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TensorSpec):
            return NotImplemented
        return self.shape == other.shape and self.mode == other.mode

    def __reduce__(self) -> tuple[object, ...]:
        # Hashes of strings differ between processes: the hash is made anew where it is unpickled.
        return TensorSpec, (self.mode, self.shape)

    def __str__(self) -> str:
        return f"{self.mode}{list(self.shape)}"

    @property
    def channels(self) -> int:
        """C of an image or a vector, D of tokens."""
        return self.shape[-1] if self.mode == "tokens" else self.shape[0]

    @property
    def elements(self) -> int:
        """Product of all sizes."""
        return prod(self.shape)

    @property
    def height(self) -> int:
        """H of an image; 1 for the other modes."""
        return self.shape[1] if self.mode == "image" else 1

    def with_channels(self, channels: int) -> TensorSpec:
        """The same tensor with another number of channels."""
        if self.mode == "tokens":
            return TensorSpec("tokens", (self.shape[0], channels))
        return TensorSpec(self.mode, (channels, *self.shape[1:]))


def image(channels: int, height: int, width: int) -> TensorSpec:
    """`[C, H, W]`."""
    return TensorSpec("image", (channels, height, width))


def vector(channels: int) -> TensorSpec:
    """`[C]`."""
    return TensorSpec("vector", (channels,))


def strided(size: int, stride: int) -> int:
    """Output size of a "same"-padded window of odd kernel: ceil(size / stride)."""
    return -(-size // stride)


def windowed(size: int, kernel: int, stride: int) -> int:
    """Output size of a window, 0 or less where it does not fit.

    Odd windows are padded to be centred on each `stride`-th pixel: ceil(size / stride). Even ones
    are not padded, so that windows of 2 at stride 2 do not overlap: (size - kernel) // stride + 1.
    """
    return strided(size, stride) if kernel % 2 else (size - kernel) // stride + 1
