"""NASNet: its cells compute what the paper says, draws run."""

from math import prod
from random import Random

import pytest
import torch

from nas.export import module_source
from searchspace import draws
from searchspace.build import build
from searchspace.picks import derive
from searchspace.primitives import PRIMITIVES
from searchspace.primitives.drop_path import DropPath
from searchspace.primitives.nasnet import OPERATIONS, NASNetCell
from searchspace.published.nasnet import nasnet_a
from searchspace.sample import sample
from searchspace.shapes import ShapeError, image
from searchspace.space import load_space, space_text
from searchspace.tree import units

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"quarter": (4, 4), "stem": (16, 16), "depth": (0, 0)}


@pytest.fixture(scope="module")
def grammar():
    return load_space("nasnet")


@pytest.fixture(scope="module")
def small():
    return load_space("nasnet", classes=5, limits=SMALL)


def test_the_space_has_all_cells(grammar):
    wirings = prod(states**2 for states in range(2, 7))
    cells = wirings * len(OPERATIONS) ** 10 * 3
    sizes = len(range(4, 43)) * len(range(16, 97, 16)) * 7 * 5
    (network,) = grammar.rules["network"].alternatives
    assert draws.count(network, ()) == cells**2 * sizes
    assert len(space_text("nasnet").splitlines()) < 150


@pytest.mark.parametrize("seed", range(12))
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


def test_the_source_of_a_network_runs(grammar):
    spec, architecture = image(3, 32, 32), derive(grammar, nasnet_a(4, 16, 0, drop=30))
    names = {"__name__": "model"}
    exec(compile(module_source(architecture, spec), "model.py", "exec"), names)
    network, exported = build(architecture.root, spec).eval(), names["Network"]().eval()
    exported.load_state_dict(network.state_dict())
    x = torch.randn(2, *spec.shape)
    with torch.no_grad():
        torch.testing.assert_close(exported(x), network(x))


def _sums(cell, stride=1, first=6, following=0, **changes):
    """A cell whose projections do nothing but ReLU: two filters in, two filters made."""
    options = {"channels": 2, "left": 2, "filters": 2, "drop": 0, **changes}
    module = NASNetCell(
        **options, following=following, stride=stride, first=first, wiring=cell
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
    torch.testing.assert_close(_sums(cell, first=1)(both)[:, :4], torch.cat((y, b1), 1))
    carried = _sums(cell, following=2)(both)
    torch.testing.assert_close(carried, torch.cat((b5, x), 1))


def test_what_no_block_takes_is_added_to_the_last_state_if_it_does_not_leave():
    cell = " ".join(["1 identity 1 identity"] * 5)
    x, y = torch.rand(2, 2, 4, 4), torch.rand(2, 2, 4, 4)
    both = torch.cat((x, y), 1)
    torch.testing.assert_close(_sums(cell, first=6)(both), x + 5 * 2 * y)
    torch.testing.assert_close(_sums(cell, first=5)(both), torch.cat((2 * y, x + 4 * 2 * y), 1))
    reduced = _sums(cell, stride=2, first=3, left=3)(torch.rand(2, 5, 4, 4))
    assert reduced.shape == (2, 8, 2, 2)


def test_a_reduction_halves_what_comes_from_before_and_nothing_else():
    cell = "0 max3 1 max3 " + " ".join(["2 identity 2 identity"] * 4)
    x = torch.zeros(1, 4, 6, 5)
    x[0, 0, 2, 2] = 1.0
    y = _sums(cell, stride=2, first=3)(x)
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
    values = cell.named((4, 4, 0, 1, 6, 0, *(0, "identity", 1, "identity") * 5))
    with pytest.raises(ShapeError, match=r"more than 4 channels; got image\[4, 8, 8\]"):
        cell.result(image(4, 8, 8), values, ())
