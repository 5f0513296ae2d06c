"""Networks that a profile of a CPU measures whole: usual ones, and some of shipped spaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from torch import nn

from hwprofile.usual_networks import SIDE, usual_networks
from searchspace.build import build
from searchspace.sample import sample
from searchspace.space import load_space

_DRAWS: Mapping[str, tuple[int, ...]] = {
    "einspace": (0, 4, 17, 22),
    "hybrid": (2, 20),
    "mobile": (12,),
    "nasbench201": (0, 4, 8),
    "nasnet": (2,),
    "pooling": (0, 1, 5),
    "vit": (2, 13),
}
"""Seeds of architectures of at most 0.8 G multiply-adds; of the other spaces one draw in hundreds
is so small."""

Made = tuple[nn.Module, tuple[int, ...]]
"""A network in evaluation mode, and the shape of its input."""


def profiled_networks() -> Mapping[str, Callable[[], Made]]:
    """What makes each network, by name."""
    found = {name: _usual(make) for name, make in usual_networks().items()}
    for space, seeds in _DRAWS.items():
        found |= {f"{space} {seed}": _drawn(space, seed) for seed in seeds}
    return found


def _usual(make: Callable[[], nn.Module]) -> Callable[[], Made]:
    return lambda: (make().eval(), (1, 3, SIDE, SIDE))


def _drawn(space: str, seed: int) -> Callable[[], Made]:
    def made() -> Made:
        grammar = load_space(space)
        tree = sample(grammar, Random(f"profile {seed}"))
        return build(tree.root, grammar.input).eval(), (1, *grammar.input.shape)

    return made
