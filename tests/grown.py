"""A larger network against the smaller one."""

import copy

import torch
from torch import nn

from searchspace.architecture import Architecture
from searchspace.build import build
from searchspace.morph import transfer
from searchspace.shapes import TensorSpec


def lively(network: nn.Module) -> nn.Module:
    """The network in double precision with weights and statistics that matter."""
    generator = torch.Generator().manual_seed(1)

    def noise(tensor: torch.Tensor) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator).to(tensor)

    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * noise(parameter))
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * noise(buffer))
            if name.endswith("running_var"):
                buffer.copy_(noise(buffer).abs() + 0.5)
    return network


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def assert_same(old: Architecture, new: Architecture, spec: TensorSpec) -> None:
    """Both in evaluation and training; afterwards the statistics agree too."""
    torch.manual_seed(0)
    network = lively(build(old.root, spec))
    before = copy.deepcopy(network.state_dict())
    x = torch.randn(2, *spec.shape, dtype=torch.float64)
    larger = transfer(old, new, spec, network)
    assert parameters(larger) > parameters(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    for training in (False, True, False):
        larger.train(training)
        network.train(training)
        with torch.no_grad():
            torch.testing.assert_close(larger(x), network(x), rtol=1e-9, atol=1e-9)
