"""Cells of NAS-Bench-201 in the benchmark's two notations, to trees of its space and back.

Dong & Yang (arXiv 2001.00326). The string lists, for each node, the operations on the edges from
all earlier nodes: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``. The key is these six operations as
digits: edges 0→1, 0→2, 1→2, 0→3, 1→3, 2→3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from searchspace.architecture import Architecture
from searchspace.tree import FLOAT, Node, primitive

SPACE = "nasbench201"
"""Name of the space."""
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""Operations by their digit."""
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Start and end of each edge, in the order of the key."""
_DEPTH = 5
_CELL = re.compile(
    r"\+".join("".join(rf"\|(\w+)~{i}" for i in range(n)) + r"\|" for n in (1, 2, 3))
)


class CellError(ValueError):
    """A text that names no cell of the benchmark, or an architecture of another space."""


def from_cell(cell: str, *, classes: int = 10) -> Architecture:
    """The network of a cell.

    Args:
        cell: the string or the key.
        classes: 10 for CIFAR-10, 100 for CIFAR-100, 120 for ImageNet16-120.

    Raises:
        CellError: the text is neither.
    """
    digits = _digits(cell)
    groups: list[tuple[Node, ...]] = [(_block("stem", (16,), _conv(16, 3), _BATCH_NORM),)]
    for width in (16, 32, 64):
        if width > 16:
            groups.append((_down(width),))
        edges = tuple((_edge(width, digit),) for digit in digits)
        inner = primitive("dag", children=edges)
        groups.append((_block("cell", (width, *digits), inner),) * _DEPTH)
    last = (_BATCH_NORM, _RELU, primitive("global_pool"), primitive("classifier", classes))
    root = Node("network", 0, digits, (*groups, (_block("head", (), *last),)))
    return Architecture(space=SPACE, root=root)


def to_key(architecture: Architecture) -> str:
    """The six digits of an architecture.

    Raises:
        CellError: it is not of this space.
    """
    values = architecture.root.values
    if architecture.space != SPACE or len(values) != len(EDGES):
        raise CellError(f"the architecture must be one of {SPACE}; got one of {architecture.space}")
    return "".join(map(str, values))


def to_cell(architecture: Architecture) -> str:
    """The benchmark's string of an architecture. Raises as `to_key`."""
    parts = ["" for _ in range(4)]
    for (start, end), digit in zip(EDGES, to_key(architecture), strict=True):
        parts[end] += f"|{OPERATIONS[int(digit)]}~{start}"
    return "+".join(f"{part}|" for part in parts[1:])


def topology(cell: str) -> str:
    """What the benchmark tells cells apart by: 6,466 texts for its 15,625 cells.

    The rule of the authors' code (AutoDL-Projects, `to_unique_str` with zeros considered): an edge
    without operation, or from an input that is one, is `#`; a skip is what its start is; any other
    edge wraps its start; a node is its edges, sorted. It is not quite equality of functions: `#`
    stays in sums, also in one of nothing else; a convolution of zeros is its batch norm's offset,
    not zero; the parts of a sum that is skipped are not sorted among others; and one layer read
    twice reads like two. `searchspace.canonical` has 5,485 forms.

    Args:
        cell: the string or the key.

    Raises:
        CellError: the text is neither.
    """
    nodes = ["0"]
    edges = dict(zip(EDGES, _digits(cell), strict=True))
    for end in (1, 2, 3):
        parts = []
        for start in range(end):
            name, value = OPERATIONS[edges[start, end]], nodes[start]
            if name == "none" or value == "#":
                parts.append("#")
            else:
                parts.append(value if name == "skip_connect" else f"({value})@{name}")
        nodes.append("+".join(sorted(parts)))
    return nodes[-1]


def _digits(cell: str) -> tuple[int, ...]:
    if re.fullmatch("[0-4]{6}", cell):
        return tuple(map(int, cell))
    match = _CELL.fullmatch(cell)
    if match is None:
        raise CellError(
            "a cell must be six digits from 0 to 4 or of the form "
            f"|op~0|+|op~0|op~1|+|op~0|op~1|op~2|; got {cell[:200]!r}"
        )
    for name in match.groups():
        if name not in OPERATIONS:
            raise CellError(f"an operation must be one of {', '.join(OPERATIONS)}; got {name!r}")
    return tuple(map(OPERATIONS.index, match.groups()))


_RELU, _BATCH_NORM = primitive("activation", "relu"), primitive("batch_norm")


def _conv(width: int, kernel: int, stride: int = 1) -> Node:
    return primitive("conv", width, kernel, stride)


def _block(symbol: str, values: Sequence[int], *items: Node) -> Node:
    return Node(symbol, 0, tuple(values), tuple((item,) for item in items), FLOAT)


def _pre(width: int, kernel: int, stride: int = 1) -> Node:
    items = (_RELU, _conv(width, kernel, stride), _BATCH_NORM)
    return Node("pre", 0, (width, kernel, stride), tuple((item,) for item in items))


@lru_cache
def _edge(width: int, digit: int) -> Node:
    items = (
        primitive("zero"),
        primitive("identity"),
        _pre(width, 1),
        _pre(width, 3),
        primitive("average_pool", 3),
    )
    return Node("edge", digit, (width, digit), ((items[digit],),))


@lru_cache
def _down(width: int) -> Node:
    shortcut = (primitive("strided_average_pool", 2, 2), _conv(width, 1))
    body = (_pre(width, 3, 2), _pre(width, 3))
    join = primitive("branch", "add", children=(shortcut, body))
    return _block("down", (width,), join)
