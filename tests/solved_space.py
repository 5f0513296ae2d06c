"""A space of two stages that is solved in a moment, with all of its trees."""

from dataclasses import dataclass
from functools import cache

from enumeration import every_tree

from nas.assemble import assemble, design_task
from nas.config import Config
from nas.solver.design import Certificate, Task, certify
from nas.solver.found import Measure, Measured
from searchspace.architecture import Architecture

TEXT = """
space tiny : image[3, 32, 32] -> classes[10]
domain width  = 16 .. 64 step 16
domain kernel = 3 | 5
domain depth  = 1 .. 3
network -> stem(a) stage down(b) stage head with a, b : width where a <= b
stem(w) is block -> strided_conv(w, 2) batch_norm
down(w) is block -> strided_conv(w, 2) batch_norm
head is block    -> global_pool layer_norm classifier(classes)
stage            -> body ^ depth
body is block    -> residual(depthwise(kernel) layer_norm inverted(2, gelu))
"""
BOUNDS = {"high_ms": 1.0, "params": 100_000.0}


def task(**changes: object) -> Task:
    settings = {
        "space": "tiny.grammar",
        "space_text": TEXT,
        "target": "a100",
        "budget_ms": BOUNDS["high_ms"],
        "max_params": int(BOUNDS["params"]),
        "max_effectiveness": 2.0,
        "resolution": 32,
        "classes": 10,
        "gap": 0.01,
    }
    return design_task(assemble(Config(**{**settings, **changes})))


@dataclass(frozen=True)
class Known:
    """A tree, what it comes to, and which design its mixtures share."""

    architecture: Architecture
    measured: Measured
    place: object
    """Widths, and of each stage the depth and the first block."""
    like: bool
    """Whether each stage repeats one block."""


@cache
def trees() -> list[Known]:
    """Every tree of the space that keeps the bounds."""
    given = task()
    measure = Measure(given)
    found = [known(root, measure) for root, _ in every_tree(given.grammar, 200)]
    return [
        tree
        for tree in found
        if tree.measured.params <= BOUNDS["params"] and tree.measured.high_ms <= BOUNDS["high_ms"]
    ]


def known(root, measure) -> Known:
    architecture = Architecture(space="tiny", root=root)
    stages = [group[0].children[0] for group in root.children if group[0].symbol == "stage"]
    place = root.values, tuple((len(row), row[0]) for row in stages)
    like = all(len(set(row)) == 1 for row in stages)
    return Known(architecture, measure(architecture), place, like)


@cache
def proof() -> Certificate:
    """The space solved, with a front over parameters and three designs ranked."""
    return certify(task(designs=3, front=5, front_over="params"))
