"""Lets every test import `strategies`, and gives Hypothesis one profile."""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# The repository first: without it `tests/searchspace` would stand for the package of that name.
sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

# Without a deadline: a busy machine is no fault. Derandomised: the same commit, the same cases.
settings.register_profile(
    "project",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")
