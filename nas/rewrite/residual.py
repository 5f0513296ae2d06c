"""Sums of a residual connection, done by the last product of its body."""

from __future__ import annotations

from torch import nn

from nas.rewrite import products
from nas.rewrite.flow import Flow
from nas.rewrite.patterns import meddled
from nas.rewrite.plan import Region
from searchspace.primitives import channel, channel_mixers, convolution, dense_convolution, tokens
from searchspace.primitives.composite import Residual

_IN_A_ROW: dict[type[nn.Module], tuple[str, ...]] = {
    channel.Activation: ("act",),
    channel.InvertedMLP: ("expand", "act", "project"),
    channel.PlainMLP: ("act", "mix"),
    channel_mixers.InvertedResponse: ("expand", "act", "norm", "project"),
    channel_mixers.Pointwise: ("mix",),
    convolution.DepthwiseConv: ("conv",),
    convolution.StridedConv: ("conv",),
    dense_convolution.Conv: ("conv",),
    dense_convolution.DilatedConv: ("conv",),
    dense_convolution.GroupedConv: ("conv",),
    tokens.TokenMLP: ("expand", "act", "project"),
}
"""Modules that run children one after the other and do nothing else."""


def residual_regions(network: nn.Module, flow: Flow) -> list[Region]:
    """Find the residual connections whose body ends in a product.

    Args:
        network: with operators already in it.
        flow: of the original; tells that a body keeps its shape.
    """
    regions = []
    for path, module in network.named_modules():
        if type(module).forward is not Residual.forward or meddled(module):
            continue
        sums = [call for call in flow.at(path) if call.op == "add"]
        if not sums or any(len({*c.input_shapes}) != 1 or len(c.inputs) != 2 for c in sums):
            continue
        body = module.get_submodule("body")
        *stages, last = in_a_row(body) or [body]
        if isinstance(last, products.Product):
            layer = products.Residual(stages, last)
            regions.append(Region(paths=(path,), layer=layer, operation=last.operation))
    return regions


def in_a_row(module: nn.Module) -> list[nn.Module]:
    """The modules that a module runs one after the other, without those that do nothing."""
    forward = type(module).forward
    if isinstance(module, nn.Identity) or forward is nn.Identity.forward:
        return []
    if forward is nn.Sequential.forward:
        return [part for child in module.children() for part in in_a_row(child)]
    for cls, names in _IN_A_ROW.items():
        if forward is cls.forward:
            return [part for name in names for part in in_a_row(module.get_submodule(name))]
    return [module]
