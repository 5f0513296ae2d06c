"""The spaces that the contract tests run on, and outcomes for their architectures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from nas.objectives import LATENCY, SCORE, Objective
from nas.trial import Trial
from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.read import read_grammar
from searchspace.tree import Node, walk

OBJECTIVES: tuple[Objective, ...] = (SCORE, LATENCY)
"""What the contract tests optimise."""

_MANY = """\
space many : image[3, 32, 32] -> classes[10]
domain width  = 8 .. 64 step 8
domain depth  = 1 .. 4
domain kernel = 3 | 5 | 7 | 9
domain act    = gelu | relu
network -> stem(w1) stage down(w2) stage head with w1, w2 : width where w1 <= w2
stem(w) is block -> strided_conv(w, 2) layer_norm
down(w) is block -> strided_conv(w, 2) batch_norm
head is block    -> global_pool classifier(classes)
stage -> block ^ depth
block is block -> residual(depthwise(kernel) layer_norm plain(act))
                | residual(max_pool(3) plain(act))
                | residual(shift eca)
"""
_SIX = """\
space six : image[3, 8, 8] -> classes[2]
domain width  = 8 | 16 | 24
domain kernel = 3 | 5
network -> stem(w) depthwise(k) global_pool classifier(classes) with w : width ; k : kernel
stem(w) is block -> strided_conv(w, 1)
"""


@cache
def many() -> Grammar:
    """A space of many small networks: two stages, a constraint, three kinds of block."""
    return read_grammar(_MANY)


@cache
def six() -> Grammar:
    """A space of six networks."""
    return read_grammar(_SIX)


def outcomes(architectures: Sequence[Architecture], first: int = 0) -> list[Trial]:
    """What became of candidates: some failed, some infeasible, each by its key alone.

    Wide kernels score, and every block and channel costs time, so the objectives disagree.
    """
    return [outcome(architecture, first + i) for i, architecture in enumerate(architectures)]


def outcome(architecture: Architecture, number: int = 0) -> Trial:
    """The outcome of one candidate, as `outcomes` says."""
    fate = int(architecture.key, 16) % 10
    if fate == 0:
        return Trial(number=number, architecture=architecture, status="failed", reason="by design")
    values = {"score": worth(architecture.root), "latency_ms": price(architecture.root)}
    exceeded = 0.25 if fate < 3 else 0.0
    return Trial(
        number=number,
        architecture=architecture,
        status="infeasible" if exceeded else "feasible",
        values=values,
        violations={"high_ms": exceeded},
        reason="exceeds the bound on high_ms" if exceeded else "",
    )


def worth(root: Node) -> float:
    """Sum of the depthwise kernels' sizes."""
    return float(sum(int(n.values[0]) for _, n in walk(root) if n.symbol == "depthwise"))


def price(root: Node) -> float:
    """Sum of the blocks, and of the widths in units of 64."""
    blocks = sum(node.is_block for _, node in walk(root))
    widths = sum(int(n.values[0]) for _, n in walk(root) if n.symbol == "strided_conv")
    return blocks + widths / 64
