"""NASNet: the published network derives, its cells compute what the paper says, draws run."""

from math import prod
from random import Random

import pytest
import torch

from hwprofile.blocks import BlockTable
from nas.export import module_source
from searchspace import draws
from searchspace.architecture import Architecture
from searchspace.build import build
from searchspace.check import check
from searchspace.primitives import PRIMITIVES
from searchspace.primitives.drop_path import DropPath
from searchspace.primitives.nasnet import OPERATIONS, NASNetCell, leaving
from searchspace.sample import sample
from searchspace.shapes import ShapeError, image
from searchspace.space import load_space, space_text
from searchspace.tree import Node, primitive, units

NORMAL = (
    "0 separable5 1 separable3 1 separable5 1 separable3 0 average3 1 identity "
    "1 average3 1 average3 0 separable3 0 identity"
)
REDUCTION = (
    "0 separable5 1 separable7 0 max3 1 separable7 0 average3 1 separable5 "
    "3 identity 2 average3 2 separable3 0 max3"
)
"""The cells of NASNet-A as in its public code: hidden states and operations, block by block."""
SMALL = {"quarter": (4, 4), "stem": (16, 16), "depth": (0, 0)}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Cells of hundreds of tiny layers run slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def grammar():
    return load_space("nasnet")


@pytest.fixture(scope="module")
def small():
    return load_space("nasnet", classes=5, limits=SMALL)


def _values(cell):
    return tuple(int(word) if word.isdigit() else word for word in cell.split())


def _cell(symbol, drop, stride, first, cell, left, filters, following):
    inner = primitive("nasnet_cell", left, filters, following, stride, first, drop, *_values(cell))
    skipped = (left,) if stride == 2 else ()
    values = (*skipped, filters, following, first, drop, *_values(cell))
    return Node(symbol, 0, values, ((inner,),), "float")


def nasnet_a(quarter, stem, depth, drop=0):
    """The published network, `depth` + 2 cells in a stage."""

    def reduction(left, filters, following):
        return (_cell("reduce", drop, 2, 3, REDUCTION, left, filters, following),)

    def stage(filters, following):
        inner = _cell("normal", drop, 1, 1, NORMAL, filters, filters, filters)
        last = _cell("normal", drop, 1, 1, NORMAL, filters, filters, following)
        values = (filters, following, depth, 1, drop, *_values(NORMAL))
        return (Node("stage", 0, values, ((inner,), (inner,) * depth, (last,))),)

    def block(symbol, values, *items):
        return (Node(symbol, 0, values, tuple((item,) for item in items), "float"),)

    f = quarter
    twice = primitive(
        "branch", "concat", children=((primitive("identity"),), (primitive("identity"),))
    )
    last = [primitive("activation", "relu"), primitive("global_pool")]
    groups = (
        block("enter", (stem,), primitive("conv", stem, 3, 2), primitive("batch_norm"), twice),
        reduction(stem, f, f * 2),
        reduction(f * 2, f * 2, f * 4),
        stage(f * 4, f * 8),
        reduction(f * 8, f * 8, f * 8),
        stage(f * 8, f * 16),
        reduction(f * 16, f * 16, f * 16),
        stage(f * 16, 0),
        block("head", (), *last, primitive("classifier", 1000)),
    )
    normal, reduce = _values(NORMAL), _values(REDUCTION)
    inputs = [v for n in range(0, 20, 4) for v in (*normal[n : n + 3 : 2], *reduce[n : n + 3 : 2])]
    operations = [cell[n] for cell in (normal, reduce) for n in range(1, 20, 2)]
    return Node("network", 0, (f, stem, depth, drop, 1, 3, *inputs, *operations), groups)


@pytest.mark.parametrize(
    ("root", "size", "count"),
    [
        # 4 @ 1056 and 6 @ 4032, as counted from the networks of the public PyTorch ports.
        (nasnet_a(11, 32, 2), 224, 5_289_978),
        (nasnet_a(42, 96, 4), 331, 88_753_150),
    ],
)
def test_nasnet_a_derives_with_the_published_parameters(grammar, root, size, count):
    check(grammar, root)
    spec = image(3, size, size)
    assert BlockTable(spec).costs(root).params == count
    with torch.device("meta"):
        assert build(root, spec)(torch.empty(2, *spec.shape)).shape == (2, 1000)


def test_the_space_has_all_cells(grammar):
    wirings = prod(states**2 for states in range(2, 7))
    cells = wirings * len(OPERATIONS) ** 10 * 3
    sizes = len(range(4, 43)) * len(range(16, 97, 16)) * 7 * 5
    (network,) = grammar.rules["network"].alternatives
    assert draws.count(network, ()) == cells**2 * sizes
    assert len(space_text("nasnet").splitlines()) < 150


@pytest.mark.parametrize("seed", range(30))
def test_small_draws_run_forward_and_backward(small, seed):
    root = sample(small, Random(seed)).root
    torch.manual_seed(seed)
    network = build(root, image(3, 16, 16))
    y = network(torch.randn(2, 3, 16, 16))
    y.logsumexp(1).sum().backward()
    assert y.shape == (2, 5)
    assert y.isfinite().all()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_all_normal_cells_are_alike_and_all_reductions(small):
    root = sample(small, Random(3)).root
    for symbol, count in (("normal", 6), ("reduce", 4)):
        cells = [node for _, node in units(root) if node.symbol == symbol]
        assert len(cells) == count
        assert len({node.values[-20:] for node in cells}) == 1


def test_the_source_of_a_network_runs():
    spec, root = image(3, 32, 32), nasnet_a(4, 16, 0, drop=30)
    names = {"__name__": "model"}
    source = module_source(Architecture(space="nasnet", root=root), spec)
    exec(compile(source, "model.py", "exec"), names)
    network, exported = build(root, spec).eval(), names["Network"]().eval()
    exported.load_state_dict(network.state_dict())
    x = torch.randn(2, *spec.shape)
    with torch.no_grad():
        torch.testing.assert_close(exported(x), network(x))


def _sums(cell, stride=1, first=6, following=0, **changes):
    """A cell whose projections do nothing but ReLU: two filters in, two filters made."""
    inputs = [value for value in _values(cell) if isinstance(value, int)]
    options = {"channels": 2, "left": 2, "filters": 2, "drop": 0, **changes}
    module = NASNetCell(
        **options,
        following=following,
        stride=stride,
        leaving=leaving(inputs, first),
        wiring=cell,
    ).eval()
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.dirac_(layer.weight)
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = 0.0
    return module


def test_a_cell_sums_and_joins_its_states():
    cell = (
        "0 identity 1 identity 2 identity 2 identity 3 identity 0 identity "
        "1 identity 1 identity 4 identity 5 identity"
    )
    x, y = torch.rand(2, 2, 4, 4), torch.rand(2, 2, 4, 4)
    both = torch.cat((x, y), 1)
    b1 = x + y
    b2 = 2 * b1
    b3, b4 = b2 + x, 2 * y
    b5 = b3 + b4
    torch.testing.assert_close(_sums(cell)(both), b5)
    torch.testing.assert_close(_sums(cell, first=4)(both), torch.cat((b3, b4, b5), 1))
    carried = _sums(cell, following=2)(both)
    torch.testing.assert_close(carried, torch.cat((b5, x), 1))


def test_what_no_block_takes_leaves():
    taken = _values(NORMAL)[::2]
    assert leaving(taken, 6) == "23456"
    assert leaving(taken, 1) == "123456"
    assert leaving(_values(REDUCTION)[::2], 3) == "3456"
    assert leaving([0] * 10, 6) == "123456"


def test_a_reduction_halves_what_comes_from_before_and_nothing_else():
    cell = "0 max3 1 max3 " + " ".join(["2 identity 2 identity"] * 4)
    x = torch.zeros(1, 4, 6, 5)
    x[0, 0, 2, 2] = 1.0
    y = _sums(cell, stride=2)(x)
    assert y.shape == (1, 8, 3, 3)
    assert y[0, 0].nonzero().tolist() == [[1, 1]]


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_keep_or_halve_the_image_and_are_dropped_on_request(name):
    cell = f"0 {name} 1 {name} " + " ".join(["0 identity 0 identity"] * 4)
    for stride in (1, 2):
        module = _sums(cell, stride=stride, left=3, drop=20)
        y = module(torch.randn(2, 5, 7, 6))
        assert y.shape[2:] == ((7, 6) if stride == 1 else (4, 3))
        drops = [m for m in module.modules() if isinstance(m, DropPath)]
        assert len(drops) == (0 if name == "identity" else 2)


def test_a_cell_needs_more_than_the_state_of_the_cell_before_the_last():
    cell = PRIMITIVES["nasnet_cell"]
    values = cell.named((4, 4, 0, 1, 6, 0, *_values(NORMAL)))
    with pytest.raises(ShapeError, match=r"more than 4 channels; got image\[4, 8, 8\]"):
        cell.result(image(4, 8, 8), values, ())
