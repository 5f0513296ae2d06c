"""NAS-Bench-201: exactly the benchmark's cells, with the published numbers of parameters."""

from itertools import permutations, product
from random import Random

import pytest
import torch

from hwprofile.blocks import BlockTable
from searchspace import draws
from searchspace.build import build
from searchspace.canonical import canonical
from searchspace.check import check
from searchspace.nasbench201 import EDGES, CellError, from_cell, to_cell, to_key, topology
from searchspace.sample import sample
from searchspace.shapes import image
from searchspace.space import load_space, space_text
from searchspace.tree import Node, units, walk

KEYS = ["".join(digits) for digits in product("01234", repeat=6)]


@pytest.fixture(scope="module")
def grammar():
    return load_space("nasbench201")


@pytest.fixture(scope="module")
def table(grammar):
    return BlockTable(grammar.input)


def test_the_space_is_the_benchmarks(grammar):
    (network,) = grammar.rules["network"].alternatives
    assert draws.count(network, ()) == 15_625
    architectures = [from_cell(key) for key in KEYS]
    assert len({architecture.root for architecture in architectures}) == 15_625
    for architecture in architectures[::97]:
        check(grammar, architecture.root)
    assert len(space_text("nasbench201").splitlines()) < 150


@pytest.mark.parametrize("seed", range(10))
def test_what_is_drawn_is_the_network_of_its_key(grammar, seed):
    drawn = sample(grammar, Random(seed))
    assert from_cell(to_key(drawn)) == drawn


def test_both_notations_read_back():
    for key in KEYS[::13]:
        architecture = from_cell(key)
        assert to_key(architecture) == key
        assert from_cell(to_cell(architecture)) == architecture


def test_the_digits_of_a_key_are_the_operations_of_the_string():
    cell = (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
        "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    assert to_key(from_cell(cell)) == "421211"
    assert to_cell(from_cell("421211")) == cell


@pytest.mark.parametrize(
    ("key", "count"),
    [
        # Figures of the benchmark's files.
        ("421211", 129_306),
        ("000000", 73_306),
        ("333333", 1_531_546),
    ],
)
def test_published_parameters(table, key, count):
    root = from_cell(key).root
    assert table.costs(root).params == count
    with torch.device("meta"):
        assert sum(p.numel() for p in build(root, image(3, 32, 32)).parameters()) == count


def test_parameters_add_up_over_the_edges(table):
    """Operations on edges that lead nowhere count too, as in the benchmark."""
    counts = [table.costs(from_cell(str(d) * 6).root).params for d in range(5)]
    each = [(count - counts[0]) // 6 for count in counts]
    assert each == [0, 0, 28_000, 243_040, 0]
    for key in Random(0).sample(KEYS, 40):
        expected = counts[0] + sum(each[int(digit)] for digit in key)
        assert table.costs(from_cell(key).root).params == expected


def test_topologies_are_those_of_the_paper():
    assert len({topology(key) for key in KEYS}) == 6466
    assert topology("421211") == topology(to_cell(from_cell("421211")))
    assert topology("100010") == "#+#+0"
    assert topology("120001") == "#+#+#+(0)@nor_conv_1x1"
    with pytest.raises(CellError):
        topology("5")


def cell_of(key: str) -> Node:
    root = from_cell(key).root
    return next(node for _, node in units(root) if node.symbol == "cell")


def expanded(key: str, names: dict[tuple[int, int], int]) -> tuple:
    """A cell's output as nested sums, every convolution with a name: an independent account."""
    operations = dict(zip(EDGES, key, strict=True))
    nodes: dict[int, tuple] = {0: (("input",),)}
    for end in (1, 2, 3):
        parts: list[tuple] = []
        for start in range(end):
            operation, value = operations[start, end], nodes[start]
            if operation == "1":
                parts += value
            elif operation == "4":
                # What is the same at every place is its own mean.
                parts += [part for part in value if level(part)]
                pooled = tuple(part for part in value if not level(part))
                parts += [("pool", pooled)] if pooled else []
            elif operation in "23" and not value:
                parts.append(("offset", names[start, end]))  # the batch norm's
            elif operation in "23":
                parts.append(("convolution", operation, names[start, end], value))
        nodes[end] = tuple(sorted(parts, key=repr))
    return nodes[3]


def level(part: tuple) -> bool:
    if part[0] == "convolution":
        return part[1] == "2" and all(level(inner) for inner in part[3])
    return part[0] == "offset"


def least(key: str) -> str:
    """The least text of a cell over all names of its convolutions."""
    edges = [edge for edge, digit in zip(EDGES, key, strict=True) if digit in "23"]
    return min(
        repr(expanded(key, dict(zip(edges, names, strict=True))))
        for names in permutations(range(len(edges)))
    )


def test_canonical_forms_are_the_functions_of_the_cells():
    spec = image(16, 4, 4)
    forms = {key: canonical(cell_of(key), spec) for key in KEYS}
    first = {form: key for key, form in reversed(forms.items())}
    functions = {form: least(key) for form, key in first.items()}
    assert len(first) == len(set(functions.values())) == 5450
    for key in Random(1).sample(KEYS, 1500):
        assert least(key) == functions[forms[key]], key


@pytest.mark.parametrize("seed", range(6))
def test_networks_run_forward_and_backward(grammar, seed):
    root = sample(grammar, Random(seed)).root
    torch.manual_seed(seed)
    network = build(root, grammar.input)
    y = network(torch.randn(2, 3, 32, 32))
    y.logsumexp(1).sum().backward()
    assert y.shape == (2, 10)
    assert y.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_all_cells_of_a_network_are_the_same():
    root = from_cell("013243").root
    cells = [node for _, node in units(root) if node.symbol == "cell"]
    assert len(cells) == 15
    assert {node.values[1:] for node in cells} == {(0, 1, 3, 2, 4, 3)}
    kernels = [n.values[1] for _, n in walk(cells[0]) if n.symbol == "conv"]
    assert kernels == [3, 1, 3]


def test_other_numbers_of_classes():
    spec = image(3, 16, 16)
    root = from_cell("333333", classes=120).root
    check(load_space("nasbench201", classes=120), root)
    with torch.device("meta"):
        assert build(root, spec)(torch.empty(1, *spec.shape)).shape == (1, 120)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "six digits from 0 to 4"),
        ("12345", "six digits"),
        ("012345", "six digits"),
        ("|none~0|+|none~0|none~1|", "of the form"),
        ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "of the form"),
        ("|zero~0|+|none~0|none~1|+|none~0|none~1|none~2|", "one of none, .*; got 'zero'"),
    ],
)
def test_texts_that_are_no_cell(text, words):
    with pytest.raises(CellError, match=words):
        from_cell(text)


def test_architectures_of_other_spaces_have_no_key():
    vit = sample(load_space("vit"), Random(0))
    with pytest.raises(CellError, match="must be one of nasbench201; got one of vit"):
        to_key(vit)
