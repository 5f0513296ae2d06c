"""What every search strategy must do, as tests to inherit.

A strategy's author writes, in a file that pytest collects::

    from nas.testing.strategies import StrategyContract

    class TestMyStrategy(StrategyContract):
        def make(self, problem):
            return MyStrategy(problem)
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from inspect import getfile
from itertools import repeat
from random import Random, getstate

import numpy as np

from nas.strategies.base import Problem, Strategy
from nas.testing.space import OBJECTIVES, many, outcomes, six
from nas.trial import Trial
from searchspace.architecture import Architecture
from searchspace.check import check
from searchspace.grammar import Grammar
from searchspace.sample import sample

_PATIENCE = 40
"""Generations after which a strategy that still proposes something in a space of six is stuck."""
_TOLD = "keys:"


def proposals(strategy: Strategy, sizes: Iterable[int]) -> Iterator[tuple[Architecture, ...]]:
    """Ask for some sizes in turn, telling outcomes as a run does, until nothing more comes."""
    number = 0
    for size in sizes:
        asked = tuple(strategy.ask(size))
        if not asked:
            return
        yield asked
        strategy.tell(outcomes(asked, number))
        number += len(asked)


class StrategyContract(ABC):
    """Inherit, say how the strategy is made, and pytest runs the rest."""

    @abstractmethod
    def make(self, problem: Problem) -> Strategy:
        """A fresh strategy for a problem."""

    def problem(self, grammar: Grammar, *, seed: int = 0, evaluations: int = 80) -> Problem:
        """The problem that a test poses."""
        return Problem(grammar=grammar, objectives=OBJECTIVES, seed=seed, evaluations=evaluations)

    def keys(self, seed: int = 0) -> list[list[str]]:
        """Keys of what is proposed in three generations."""
        strategy = self.make(self.problem(many(), seed=seed))
        return [[a.key for a in part] for part in proposals(strategy, [12] * 3)]

    def test_proposes_trees_of_the_space_and_none_twice(self) -> None:
        """Through failed and infeasible outcomes, with generations of several sizes."""
        seen: set[str] = set()
        strategy = self.make(self.problem(many()))
        sizes = [1, 7, 20, 3, 20, 20, 9]
        found = list(proposals(strategy, sizes))
        assert len(found) == len(sizes), "a large space was given up"
        for asked, size in zip(found, sizes, strict=True):
            assert len(asked) <= size
            for architecture in asked:
                check(many(), architecture.root)
                assert architecture.space == many().name
                assert architecture.key not in seen, f"proposed twice: {architecture.text}"
                seen.add(architecture.key)
        assert any(t.status == "failed" for part in found for t in outcomes(part))
        assert any(t.status == "infeasible" for part in found for t in outcomes(part))

    def test_follows_from_its_seed(self) -> None:
        """The same seed, the same proposals; another seed, others."""
        assert self.keys(3) == self.keys(3)
        assert self.keys(3) != self.keys(4)

    def test_leaves_and_reads_no_global_generator(self) -> None:
        """Whoever draws beside it changes nothing, and is not disturbed."""
        before = _global_generators()
        first = self.keys(5)
        assert _global_generators() == before
        np.random.rand(3)
        assert self.keys(5) == first

    def test_ends_when_a_space_is_exhausted(self) -> None:
        """In a space of six it proposes at most six, and then says that there is no more."""
        strategy = self.make(self.problem(six()))
        found = []
        for generation, asked in enumerate(proposals(strategy, repeat(4))):
            assert generation < _PATIENCE, "goes on for ever in a space of six"
            found += [architecture.key for architecture in asked]
        assert len(found) == len(set(found)) <= 6
        assert not list(strategy.ask(4))

    def test_survives_when_everything_fails(self) -> None:
        """A space in which nothing works is searched to the end all the same."""
        strategy = self.make(self.problem(many()))
        for _ in range(4):
            asked = strategy.ask(20)
            assert asked
            strategy.tell(
                [
                    Trial(number=i, architecture=a, status="failed", reason="no reason")
                    for i, a in enumerate(asked)
                ]
            )

    def test_takes_architectures_worth_proposing_first(self) -> None:
        """The problem's seeds may be proposed or not, but never break it and never come twice."""
        random = Random(1)
        seeds = tuple(sample(many(), random) for _ in range(3))
        problem = Problem(
            grammar=many(), objectives=OBJECTIVES, seed=0, evaluations=80, seeds=seeds
        )
        found = [a.key for part in proposals(self.make(problem), [12] * 3) for a in part]
        assert len(found) == len(set(found))

    def test_proposes_the_same_in_another_process(self) -> None:
        """Hashes of strings differ between processes; proposals must not."""
        kind = type(self)
        code = (
            "import importlib.util, sys\n"
            f"spec = importlib.util.spec_from_file_location('contract', {getfile(kind)!r})\n"
            "module = sys.modules['contract'] = importlib.util.module_from_spec(spec)\n"
            "spec.loader.exec_module(module)\n"
            f"print({_TOLD!r}, module.{kind.__qualname__}().keys(3))\n"
        )
        environment = {
            **os.environ,
            "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = [line for line in done.stdout.splitlines() if line.startswith(_TOLD)]
        assert told == [f"{_TOLD} {self.keys(3)}"]


def _global_generators() -> bytes:
    return pickle.dumps((getstate(), np.random.get_state()))
