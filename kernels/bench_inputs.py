"""Inputs of benchmark problems: drawn tensors by name, and how many elements they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kernels.operation import Arguments, Make

Shapes = Mapping[str, tuple[int, ...]]
"""Sizes of tensors by the names of the arguments that they are."""


def make_inputs(shapes: Shapes, **settings: Any) -> Make:
    """Draw tensors of these shapes, images channels-last, in the dtype asked for."""

    def make(generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Arguments:
        found: Arguments = dict(settings)
        for name, shape in shapes.items():
            x = draw(generator, shape, dtype, device)
            if name == "x" and len(shape) == 4:
                x = x.to(memory_format=torch.channels_last)
            found[name] = x
        return found

    return make


def draw(
    generator: torch.Generator, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Fill large tensors on their device: drawing 10^8 values on a CPU takes a second."""
    if device.type == "cpu":
        return torch.randn(shape, generator=generator).to(dtype)
    own = torch.Generator(device).manual_seed(int(generator.initial_seed()))
    return torch.empty(shape, dtype=dtype, device=device).normal_(generator=own)


def total(shapes: Shapes, *outputs: int) -> int:
    """Elements of the inputs and of outputs."""
    return sum(torch.Size(shape).numel() for shape in shapes.values()) + sum(outputs)
