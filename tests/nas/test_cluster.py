"""Workers on Ray judge as this process does, and survive the death of one."""

from __future__ import annotations

import ast
import os
import signal
from pathlib import Path
from random import Random

import pytest

from nas import cluster
from nas.cluster import ClusterError, JudgePool
from nas.data import load_data
from nas.supernet.train import Schedule, train_supernet
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.shapes import ShapeError
from searchspace.text import from_text

TINY = """
space tiny : image[1, 8, 8] -> classes[10]
domain width = 4 | 8 | 12
domain kernel = 3 | 5
network -> stem(w) block head with w : width
stem(w) is block -> strided_conv(w, 2) batch_norm
block is block -> residual(mix batch_norm inverted(2, gelu))
mix -> 3 : depthwise(kernel) | shift
head is block -> global_pool layer_norm classifier(classes)
"""


@pytest.fixture(scope="module")
def data():
    return load_data("digits")


@pytest.fixture(scope="module")
def bank(data):
    return train_supernet(read_grammar(TINY), data, seed=0, schedule=Schedule(steps=30, batch=64))


@pytest.fixture(scope="module")
def nodes(bank):
    random = Random(1)
    drawn = (sample(bank.grammar, random).root for _ in range(99))
    return [root for root in drawn if root.values[0] > 4][:8]


@pytest.fixture(scope="module")
def here(bank, data, nodes):
    with JudgePool(bank, data) as pool:
        return dict(pool.judge(nodes))


@pytest.fixture(scope="module")
def pool(bank, data):
    with JudgePool(bank, data, workers=2) as pool:
        yield pool


def test_in_process_the_order_is_kept(bank, data, nodes, here):
    assert list(here) == list(range(8))
    assert all(0 <= value <= 1 for value in here.values())
    assert len(set(here.values())) > 2


def test_workers_judge_as_this_process(pool, nodes, here):
    assert dict(pool.judge(nodes)) == here


def test_a_network_that_does_not_fit_gives_its_fault(pool, bank, data, nodes):
    bad = from_text(
        "network:0(4)[stem:0@float(4)[strided_conv(4,2); batch_norm]; "
        "block:0@float[residual[mix:1[shift] batch_norm inverted(2,gelu)]]; "
        "head:0@float[global_pool; layer_norm; classifier(10)]]"
    )
    for judging in (pool, JudgePool(bank, data)):
        found = dict(judging.judge([nodes[0], bad]))
        assert isinstance(found[0], float)
        assert isinstance(found[1], ShapeError)
        assert "5 channels or more" in str(found[1])


def test_a_dead_worker_is_replaced(pool, nodes, here):
    ray = pool._ray
    first = ray.get(pool.actors[0].process.remote())
    results = pool.judge(nodes * 2)
    index, value = next(results)
    os.kill(first, signal.SIGKILL)
    found = {index: value, **dict(results)}
    assert found == {i: here[i % 8] for i in range(16)}
    assert ray.get(pool.actors[0].process.remote()) != first


def test_more_workers_than_processors_are_refused(bank, data):
    cpus = len(os.sched_getaffinity(0))
    with pytest.raises(ClusterError, match=f"{cpus + 1} workers need as many CPUs"):
        JudgePool(bank, data, workers=cpus + 1).__enter__()


def test_a_pool_must_be_open_and_a_cluster_needs_workers(bank, data, nodes):
    with pytest.raises(ClusterError, match="opened by a 'with'"):
        next(JudgePool(bank, data, workers=1).judge(nodes))
    for workers, address in ((-1, None), (0, "auto")):
        with pytest.raises(ValueError, match="1 or more for a cluster"):
            JudgePool(bank, data, workers=workers, address=address)


def test_ray_is_imported_by_pools_with_workers_only():
    body = ast.parse(Path(cluster.__file__).read_text()).body
    imports = [ast.unparse(line) for line in body if isinstance(line, ast.Import | ast.ImportFrom)]
    assert imports
    assert not [line for line in imports if "ray" in line]
