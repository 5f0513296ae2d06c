"""Modules whose norms, scales and biases do something, as training would have them."""

from __future__ import annotations

import torch
from torch import nn


def stirred(module: nn.Module, seed: int = 0) -> nn.Module:
    """A module in evaluation mode whose norms, scales and biases do something."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        tensors = [p for name, p in part._parameters.items() if p is not None and p.dim() == 1]
        if isinstance(part, nn.BatchNorm2d):
            tensors += [part.running_mean, part.running_var]
        for tensor in tensors:
            if tensor.numel() > 1:
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module.eval()
