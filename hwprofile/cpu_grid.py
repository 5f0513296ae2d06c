"""Which calls a profile of a CPU times: those of the shipped spaces and of usual layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import torch
from torch import nn

from hwprofile.meta_build import on_meta
from hwprofile.replay import OneCall, calls_of
from hwprofile.usual_layers import draw_layers
from searchspace.build import build
from searchspace.sample import sample
from searchspace.space import load_space, space_names

_FIRST = 6
"""Calls of each function, from the smallest to those of a third of all, that come first."""
MOST_BYTES = 96 << 20
"""Calls that touch more are left out."""


def calls_of_spaces(
    *, samples: int, seed: int, report: Callable[[str], None] = lambda name: None
) -> list[OneCall]:
    """Distinct calls, for one image, of architectures drawn from the shipped spaces.

    Args:
        samples: architectures drawn from each.
        seed: decides the draws.
        report: called with the name of each space before it is drawn from.
    """
    found: dict[OneCall, None] = {}
    for name in space_names():
        report(name)
        grammar = load_space(name)
        random = Random(f"{seed}:{name}")
        for _ in range(samples):
            tree = sample(grammar, random)
            with on_meta():
                module = build(tree.root, grammar.input).eval()
            found.update(dict.fromkeys(_calls(module, (1, *grammar.input.shape))))
    return list(found)


def calls_of_usual_layers(*, layers: int, seed: int) -> list[OneCall]:
    """Distinct calls of layers drawn as published networks have them.

    Args:
        layers: how many are drawn.
        seed: decides the draws.
    """
    found: dict[OneCall, None] = {}
    with on_meta():
        drawn = draw_layers(Random(seed))
        for _ in range(layers):
            module, shape = next(drawn)
            found.update(dict.fromkeys(_calls(module.eval(), shape)))
    return list(found)


def take_turns(calls: list[OneCall], seed: int) -> list[OneCall]:
    """Put calls in an order of which every beginning has all functions; large ones left out.

    Of each function a few small calls come first, so that the time of others can be foreseen;
    functions that occur in more sizes take more turns.
    """
    by_name: dict[tuple[str, bool], list[OneCall]] = {}
    for call in calls:
        if 0 < _elements(call) * 4 <= MOST_BYTES:
            by_name.setdefault(routine(call), []).append(call)
    turns: list[tuple[float, tuple[str, bool], OneCall]] = []
    for name, group in sorted(by_name.items()):
        group.sort(key=lambda call: (work_of(call), str(call)))
        small = group[: max(1, len(group) // 3)][:: max(1, len(group) // (3 * _FIRST))]
        rest = [call for call in group if call not in small]
        Random(f"{seed}:{name}").shuffle(rest)
        group[:] = small + rest
        share = len(group) ** 0.7
        turns += [((place + 0.5) / share, name, call) for place, call in enumerate(group)]
    return [call for _, _, call in sorted(turns, key=lambda turn: turn[:2])]


def routine(call: OneCall) -> tuple[str, bool]:
    """The function, and whether it convolves groups of channels, which other code does."""
    grouped = "conv2d" in call.name and len(call.args) > 6 and call.args[6] != 1
    return call.name, grouped


def _calls(module: nn.Module, shape: tuple[int, ...]) -> Iterator[OneCall]:
    with torch.device("meta"):
        yield from calls_of(module, [torch.empty(shape)])


def _elements(call: OneCall) -> int:
    return sum(math.prod(operand.shape) for operand in call.operands)


def work_of(call: OneCall) -> float:
    """Multiply-adds of products, convolutions and attention; elements of all else; at least 1."""
    shapes = [operand.shape for operand in call.operands]
    name = call.name.split(".")[1]
    elements = float(max([math.prod(shape) for shape in shapes], default=1))
    if name.startswith("conv") and len(shapes) > 1 and len(shapes[0]) == 4:
        strides: Any = call.args[3] if len(call.args) > 3 else 1
        step = math.prod(strides) if isinstance(strides, tuple) else strides**2
        positions = shapes[0][0] * math.prod(shapes[0][2:]) / step
        return max(1.0, positions * math.prod(shapes[1]))
    if name in ("linear", "matmul", "bmm", "mm", "addmm") and len(shapes) > 1:
        longest = max(shapes[:2], key=math.prod)
        other = shapes[1] if longest is shapes[0] else shapes[0]
        columns = other[0] if name == "linear" else other[-1]
        return max(1.0, float(math.prod(longest) * columns))
    if name == "scaled_dot_product_attention":
        return 2.0 * math.prod(shapes[0]) * shapes[1][-2]
    return max(1.0, elements)
