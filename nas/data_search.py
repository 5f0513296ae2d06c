"""What a search with data does beside the loop: a supernet before it, a training after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import Progress as Bar
from rich.progress import TaskID
from torch import nn

from nas.assemble import Parts
from nas.cluster import JudgePool
from nas.data import Data, load_data
from nas.supernet.train import Progress, train_supernet
from nas.train import Epoch, train_alone
from nas.trial import Trial
from searchspace.shapes import ShapeError
from searchspace.tree import Node

SUPERNET = Path("supernet") / "bank.safetensors"
"""Where in a run's folder the shared weights are kept."""
EPOCHS = 30
"""Passes over the training images for the winner."""


@contextmanager
def judged(parts: Parts, folder: Path, bar: Bar) -> Iterator[None]:
    """Train the supernet, or read it again, and let the evaluator judge with it meanwhile.

    Args:
        parts: of the run; its evaluator's `judge` is set inside the `with`.
        folder: the run's folder, where the shared weights are kept.
        bar: shows the training.
    """
    data = _data(parts).without_test()
    checkpoint = folder / SUPERNET
    task = bar.add_task("supernet", total=None, best="")

    def show(progress: Progress) -> None:
        bar.update(
            task, completed=progress.step, total=progress.steps, best=f"loss {progress.loss:.3f}"
        )

    bank = train_supernet(
        parts.grammar,
        data,
        seed=parts.config.seed,
        on_progress=show,
        checkpoint=checkpoint,
        resume_from=checkpoint if checkpoint.exists() else None,
    )
    _fill(bar, task)
    workers, address = parts.config.workers, parts.config.ray_address
    with JudgePool(
        bank,
        data,
        workers=workers or (1 if address else 0),
        address=address,
        primitives=parts.config.primitives,
    ) as pool:

        def judge(roots: Sequence[Node]) -> Iterator[tuple[int, float | str]]:
            for position, outcome in pool.judge(roots):
                yield position, str(outcome) if isinstance(outcome, ShapeError) else outcome

        parts.evaluator.judge = judge
        try:
            yield
        finally:
            parts.evaluator.judge = None


def train_winner(parts: Parts, winner: Trial, bar: Bar) -> tuple[nn.Module, dict[str, float]]:
    """Train the chosen design alone and test it on images that the search never saw.

    Returns:
        The trained network in eval mode, and its figures: `test_accuracy` and
        `validation_accuracy`, shares in 0..1.
    """
    task = bar.add_task("winner", total=EPOCHS, best="")

    def show(epoch: Epoch) -> None:
        bar.update(task, completed=epoch.epoch, best=f"loss {epoch.loss:.3f}")

    trained = train_alone(
        winner.architecture.root,
        _data(parts),
        seed=parts.config.seed,
        epochs=EPOCHS,
        on_progress=show,
    )
    assert trained.test_accuracy is not None  # the data have test images
    return trained.network, {
        "test_accuracy": trained.test_accuracy,
        "validation_accuracy": trained.validation_accuracy,
    }


def _data(parts: Parts) -> Data:
    assert parts.config.data is not None
    return load_data(parts.config.data)


def _fill(bar: Bar, task: TaskID) -> None:
    """Show a task as done, though it may have been read from disk."""
    bar.update(task, total=bar.tasks[task].completed or 1, completed=bar.tasks[task].completed or 1)
