"""Judging many networks at once: all that touches Ray.

Ray is imported when a pool with workers opens, never before. A pool in process (no workers) gives
the same values, bit for bit.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from nas.data import Data
from nas.plugins import add_primitives
from nas.supernet.bank import WeightBank
from nas.supernet.judge import inherited_accuracy
from searchspace.shapes import ShapeError
from searchspace.tree import Node

AHEAD = 2
"""Networks that wait at each worker, so that it never idles."""


class ClusterError(RuntimeError):
    """The cluster cannot do what is asked of it."""


class JudgePool:
    """Tells what networks achieve with inherited weights, in this process or on Ray's actors.

    Use it in a `with` statement: a pool with workers starts them there and ends them with it. If
    Ray already runs in this process, the pool uses it and leaves it running.
    """

    def __init__(
        self,
        bank: WeightBank,
        data: Data,
        *,
        workers: int = 0,
        address: str | None = None,
        primitives: tuple[str, ...] = (),
    ) -> None:
        """Nothing is started yet.

        Args:
            bank: trained weights; must not change while the pool is open.
            data: judged on its validation images; its test images go nowhere.
            workers: actors, each with one CPU; 0 judges in this process.
            address: a running cluster, such as `auto`; None starts one on this machine.
            primitives: those that the workers must be told of, as `package.module:NAME`.

        Raises:
            ValueError: `workers` is negative, or 0 with an address.
        """
        if workers < 0 or (address and not workers):
            raise ValueError(
                f"workers must be 0 or more, and 1 or more for a cluster; got {workers}"
            )
        self.bank, self.data = bank, data.without_test()
        self.workers, self.address, self.primitives = workers, address, primitives
        self._ray: Any = None
        self._started = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        # Held while the pool is open: an actor that starts again reads its arguments again.
        self._shared: tuple[Any, ...] = ()
        self.actors: list[Any] = []
        """Handles of the actors; empty in process."""

    def __enter__(self) -> JudgePool:
        if self.workers:
            try:
                self._open()
            except BaseException:
                self.close()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def judge(self, nodes: Sequence[Node]) -> Iterator[tuple[int, float | ShapeError]]:
        """Index and validation accuracy of each network, as they come; in process in order.

        A network that does not fit its shapes gives its `ShapeError` in place of the accuracy. The
        values do not depend on the number of workers. A worker that dies is started again and does
        its networks again.

        Raises:
            ClusterError: the pool has workers but is not open.
            TreeError: the bank's grammar does not generate a tree.
        """
        if not self.workers:
            for index, node in enumerate(nodes):
                yield index, _judged(self.bank, node, self.data)
            return
        if not self.actors:
            raise ClusterError("a pool with workers must be opened by a 'with' statement first")
        yield from self._spread(nodes)

    def close(self) -> None:
        """End the workers, and Ray if the pool started it. Closing twice does no harm."""
        if self._ray is None:
            return
        for actor in self.actors:
            self._ray.kill(actor)
        self.actors, self._shared = [], ()
        if self._started:
            self._ray.shutdown()
        self._ray, self._started = None, False
        if self._folder:
            self._folder.cleanup()

    def _spread(self, nodes: Sequence[Node]) -> Iterator[tuple[int, float | ShapeError]]:
        waiting = list(enumerate(nodes))[::-1]
        running: dict[Any, tuple[int, Any]] = {}

        def submit(actor: Any) -> None:
            if waiting:
                index, node = waiting.pop()
                running[actor.judge.remote(node, self._shared)] = (index, actor)

        for actor in self.actors * AHEAD:
            submit(actor)
        while running:
            done, _ = self._ray.wait(list(running), num_returns=1)
            index, actor = running.pop(done[0])
            submit(actor)
            yield index, self._ray.get(done[0])

    def _open(self) -> None:
        self._ray = ray = _import_ray()
        if not ray.is_initialized():
            self._start(ray)
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if self.workers > cpus:
            # Ray would wait for ever, and say so in a log file only.
            raise ClusterError(
                f"{self.workers} workers need as many CPUs, but the cluster has {cpus}: "
                f"ask for {cpus} workers or fewer"
            )
        # As arrays, put once: every worker of a machine reads the same memory.
        arrays = {key: tensor.numpy() for key, tensor in self.bank.state().items()}
        recipe = (self.primitives, self.bank.grammar, self.bank.spec, self.bank.seed)
        self._shared = (ray.put(recipe), ray.put(arrays), ray.put(self.data))
        # Without end: with a finite number of retries, an actor on a lost node is given up.
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(_Judge)
        self.actors = [actor.remote() for _ in range(self.workers)]

    def _start(self, ray: Any) -> None:
        self._started = True
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.address:
            ray.init(address=self.address, **quiet)
            return
        cpus = len(os.sched_getaffinity(0))
        if self.workers > cpus:
            raise ClusterError(
                f"{self.workers} workers need as many CPUs, but this machine has {cpus}: "
                f"ask for {cpus} workers or fewer, or give the address of a cluster"
            )
        # A folder of its own, removed at the end: Ray leaves its own behind.
        self._folder = tempfile.TemporaryDirectory(prefix="nas-ray-", ignore_cleanup_errors=True)
        ray.init(
            num_cpus=self.workers, include_dashboard=False, _temp_dir=self._folder.name, **quiet
        )


class _Judge:
    """The actor: a copy of the bank, and the data.

    It takes them with its first task, not when it is made: a restarted actor has no arguments to
    lose.
    """

    def __init__(self) -> None:
        self.bank: WeightBank | None = None
        self.data: Data | None = None

    def judge(self, node: Node, shared: tuple[Any, Any, Any]) -> float | ShapeError:
        if self.bank is None or self.data is None:
            self.bank, self.data = _taken(shared)
        return _judged(self.bank, node, self.data)

    def process(self) -> int:
        return os.getpid()


def _taken(shared: tuple[Any, Any, Any]) -> tuple[WeightBank, Data]:
    """The bank and the data behind Ray's references."""
    import ray
    import torch

    (primitives, grammar, spec, seed), weights, data = ray.get(list(shared))
    add_primitives(primitives)
    bank = WeightBank(grammar, spec, seed=seed)
    # Copied, since Ray's memory is read-only and tensors cannot be.
    bank.restore({key: torch.from_numpy(array.copy()) for key, array in weights.items()})
    return bank, data


def _judged(bank: WeightBank, node: Node, data: Data) -> float | ShapeError:
    try:
        return inherited_accuracy(bank, node, data)
    except ShapeError as fault:
        return fault


def _import_ray() -> Any:
    # Read when Ray is imported. A private cluster on one machine needs no token.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    return ray
