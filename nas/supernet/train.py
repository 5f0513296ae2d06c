"""Single-path training of a weight bank by the sandwich rule.

Every step trains a largest network, a smallest and two random ones (Yu et al., BigNAS, arXiv
2003.11142, section 3.1; one path at a time as in SPOS, 1904.00420), each on a quarter of the batch,
which costs 0.6 of one full pass where the sandwich on full batches costs 2.2. There is no in-place
distillation: the teacher would have to see the other quarters too.

What a step draws depends on the seed and the step's number alone, so that a resumed run does as an
unbroken one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.data import Data, shifted
from nas.supernet.bank import (
    Candidate,
    WeightBank,
    gradients,
    read_tensors,
    require_same,
    write_tensors,
)
from nas.supernet.sizes import extreme
from nas.threads import torch_threads
from searchspace.grammar import Grammar
from searchspace.sample import sample
from searchspace.tree import Node

PATHS = 4
"""Networks in a step: largest, smallest, two random."""
TRIES = 100
"""Networks that are drawn before a space counts as unfit for its input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a bank is trained."""

    steps: int = 300
    """Steps, each of four networks."""
    batch: int = 128
    """Images in a step, a multiple of 4; each network sees a quarter. At most the training set."""
    learning_rate: float = 8e-3
    """Peak of AdamW's rate."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises; then it falls to 0 as a cosine."""
    weight_decay: float = 0.02
    """Of weights with 2 dimensions or more."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes."""
    shift: int = 1
    """Pixels that an image moves at most, each way; what comes in is the border."""

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        rise = max(1, round(self.warmup * self.steps))
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        done = (step - rise) / max(1, self.steps - rise)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a step of training came to."""

    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    loss: float
    """Mean cross-entropy of the step's networks, in nats."""


def train_supernet(
    grammar: Grammar,
    data: Data,
    *,
    seed: int,
    schedule: Schedule | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    resume_from: Path | None = None,
    threads: int = 1,
) -> WeightBank:
    """A bank trained for all networks of a grammar, on `data.train` alone.

    The same arguments give the same bank, on one kind of machine.

    Args:
        grammar: the space, already narrowed (see `limits.default_limits`).
        seed: decides initial weights, batches and networks.
        schedule: how long and how fast; `Schedule()` if None.
        on_progress: called after every step; may raise to stop.
        checkpoint: file to write every `checkpoint_every` steps; `resume_from` reads it.
        resume_from: file of an earlier call with the same arguments. One that does not exist is
            an error; one that is complete gives its bank at once.
        threads: what torch computes with; more pay for large images only.

    Raises:
        BankError: `resume_from` cannot be read or is that of another run.
        ValueError: the batch is no multiple of 4, or the grammar is for other inputs than the data.
    """
    schedule = schedule or Schedule()
    if schedule.batch < PATHS or schedule.batch % PATHS:
        raise ValueError(f"the batch must be a multiple of {PATHS}; got {schedule.batch}")
    if grammar.input != data.spec:
        raise ValueError(f"the grammar is for {grammar.input}; the data have {data.spec}")
    bank = WeightBank(grammar, data.spec, seed=seed)
    trainer = _Trainer(bank, data, schedule)
    start = trainer.resume(resume_from) if resume_from else 0
    for step in range(start, schedule.steps):
        with torch_threads(threads):
            loss = trainer.step(step)
        done = step + 1
        if checkpoint and (done % checkpoint_every == 0 or done == schedule.steps):
            trainer.save(checkpoint, done)
        if on_progress:
            on_progress(Progress(step=done, steps=schedule.steps, loss=loss))
    return bank


def sandwich(grammar: Grammar, random: Random) -> list[Node]:
    """The networks of a step: a largest, a smallest, and random ones."""
    ends = [extreme(grammar, random, max), extreme(grammar, random, min)]
    return [*ends, *(sample(grammar, random).root for _ in range(PATHS - 2))]


class _Trainer:
    def __init__(self, bank: WeightBank, data: Data, schedule: Schedule) -> None:
        self.bank, self.data, self.schedule = bank, data, schedule
        self.batch = min(schedule.batch, len(data.train) // PATHS * PATHS)
        decay = schedule.weight_decay
        # The groups name the tensors of the current step only: a step costs what it sampled.
        groups = [{"params": [], "weight_decay": decay}, {"params": [], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, fused=True)

    def step(self, step: int) -> float:
        random = Random(f"{self.bank.seed}|step {step}")
        index = _batch(len(self.data.train), self.batch, self.bank.seed, step)
        generator = torch.Generator().manual_seed(random.getrandbits(63))
        images = shifted(self.data.train.images[index], self.schedule.shift, generator)
        quarters = zip(images.chunk(PATHS), self.data.train.labels[index].chunk(PATHS), strict=True)
        losses, keys = [], set[str]()
        networks = sandwich(self.bank.grammar, random)
        for root, quarter in zip(networks, quarters, strict=True):
            candidate = self.bank.candidate(root)
            losses.append(self._backward(candidate, *quarter))
            keys.update(candidate.keys)
        self._update(step, gradients(self.bank.tensors, keys))
        return sum(losses) / PATHS

    def _backward(self, candidate: Candidate, images: Tensor, labels: Tensor) -> float:
        logits = candidate(images, training=True)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.schedule.label_smoothing)
        (loss / PATHS).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _update(self, step: int, touched: list[Tensor]) -> None:
        decayed, plain = self.optimizer.param_groups
        decayed["params"] = [t for t in touched if t.dim() > 1]
        plain["params"] = [t for t in touched if t.dim() <= 1]
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        self.optimizer.step()
        for tensor in touched:
            tensor.grad = None

    def save(self, path: Path, step: int) -> None:
        tensors = {f"weight|{key}": tensor for key, tensor in self.bank.state().items()}
        for key, tensor in self.bank.tensors.items():
            for name, value in self.optimizer.state.get(tensor, {}).items():
                tensors[f"{name}|{key}"] = value.detach().clone()
        write_tensors(path, tensors, self._identity() | {"step": str(step)})

    def resume(self, path: Path) -> int:
        tensors, said = read_tensors(path)
        require_same(path, said, self._identity())
        moments: dict[str, dict[str, Tensor]] = {}
        for name, key, value in _named(tensors):
            moments.setdefault(key, {})[name] = value
        self.bank.restore({key: values.pop("weight") for key, values in moments.items()})
        for key, values in moments.items():
            if values:
                self.optimizer.state[self.bank.tensors[key]] = values
        return int(said["step"])

    def _identity(self) -> dict[str, str]:
        data = f"{self.data.name} ({len(self.data.train)} images)"
        return self.bank.identity() | {"schedule": str(self.schedule), "data": data}


def _named(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, str, Tensor]]:
    for label, value in tensors.items():
        name, _, key = label.partition("|")
        yield name, key, value


def _batch(count: int, size: int, seed: int, step: int) -> Tensor:
    """Indices of a step's images: epochs in random order, their last incomplete batch left out."""
    epoch, place = divmod(step, count // size)
    order = list(range(count))
    Random(f"{seed}|epoch {epoch}").shuffle(order)
    return torch.tensor(order[place * size : (place + 1) * size])
