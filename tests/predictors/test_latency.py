"""Latency of a network: the sum of its kernels' prices, each block priced once."""

import pytest
from hypothesis import given, settings
from strategies import drawn, shipped, shipped_architectures

from hwprofile.blocks import BlockTable
from hwprofile.target import Target
from hwprofile.targets import get_target
from predictors.latency import LatencyPredictor

A100 = get_target("a100")
TABLE = BlockTable(shipped().input)


@given(shipped_architectures())
@settings(max_examples=5)
def test_a_network_costs_what_its_kernels_cost(architecture):
    costs = TABLE.costs(architecture.root)
    kernels = [kernel for block in costs.blocks for kernel in block.kernels]
    prices = [A100.price(kernel) for kernel in kernels]
    found = LatencyPredictor(A100).latency(costs)
    for name in ("value", "low", "high"):
        assert getattr(found, name) == pytest.approx(sum(getattr(p, name) for p in prices))
    assert found.unit == "ms"
    assert 0 < found.low <= found.value <= found.high


@given(shipped_architectures())
@settings(max_examples=5)
def test_the_breakdown_lists_every_launch_in_order(architecture):
    costs = TABLE.costs(architecture.root)
    rows = LatencyPredictor(A100).breakdown(costs)
    assert [[row.kernel for row in block] for block in rows] == [
        list(block.kernels) for block in costs.blocks
    ]
    total = sum(row.estimate.value for block in rows for row in block)
    assert total == pytest.approx(LatencyPredictor(A100).latency(costs).value)


class Counting(Target):
    """A target that counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def alone(self, kernel):
        self.asked += 1
        return A100.alone(kernel)

    def describe(self):
        return "counts"


@given(shipped_architectures())
@settings(max_examples=3)
def test_every_block_is_priced_once_and_answers_do_not_change(architecture):
    target, costs = Counting(), TABLE.costs(architecture.root)
    predictor = LatencyPredictor(target)
    first = predictor.latency(costs)
    assert target.asked == sum(len(block.kernels) for block in set(costs.blocks))
    assert predictor.latency(costs) == first
    assert target.asked == sum(len(block.kernels) for block in set(costs.blocks))


def test_a_faster_device_is_faster():
    costs = BlockTable(shipped().input, batch=64).costs(drawn(shipped(), 4).root)
    a100, h100 = (LatencyPredictor(get_target(name)).latency(costs) for name in ("a100", "h100"))
    assert h100.value < a100.value


def test_many_at_once_are_what_each_is_by_itself():
    grammar = shipped()
    table = BlockTable(grammar.input)
    candidates = [table.costs(drawn(grammar, seed).root) for seed in range(5)]
    one_by_one = [LatencyPredictor(A100).latency(costs) for costs in candidates]
    assert LatencyPredictor(A100).latencies(candidates) == one_by_one
