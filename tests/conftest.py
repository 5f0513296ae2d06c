"""Lets every test import `strategies`, and gives Hypothesis one profile."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The repository first: without it `tests/searchspace` would stand for the package of that name.
sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers fill the processors already: more threads in each, and in what it starts, would wait.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Without a deadline: a busy machine is no fault. Derandomised: the same commit, the same cases.
settings.register_profile(
    "project",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give a file to one worker, as its tests share what takes long to make, in order.

    Sorted by the number of their tests, as xdist does, files of one long test would come last.
    """
    if config.option.dist != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


@pytest.fixture
def folder_of_modules(tmp_path, monkeypatch):
    """A current directory to write modules into; what is imported or given there is forgotten."""
    from searchspace.primitives import PRIMITIVES

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name, value in (("_known", dict(PRIMITIVES)), ("_loaded", {}), ("_points", None)):
        monkeypatch.setattr(PRIMITIVES, name, value)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def one_thread():
    """Sums in one order, here and in other processes; tiny layers would wait for other threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
