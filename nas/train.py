"""Training one network by itself, from its first weights to the last."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.data import Data, Split, shifted
from nas.threads import torch_threads
from searchspace.build import build
from searchspace.primitives.drop_path import schedule_drop_path
from searchspace.tree import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained: AdamW, a rising and then falling rate, moved images."""

    batch: int = 64
    """Images in a step."""
    learning_rate: float = 3e-3
    """Peak of AdamW's rate."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises; then it falls to 0 as a cosine."""
    weight_decay: float = 0.05
    """Of weights with 2 dimensions or more."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes."""
    shift: int = 1
    """Pixels that an image moves at most, each way, in training; what comes in is the border."""
    drop_path: float = 1.0
    """What the probabilities of `drop_path` layers grow to, as a share of those that the network
    states, 0 .. 1: linearly from 0 (ScheduledDropPath, NASNet, arXiv 1707.07012)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What an epoch of training came to."""

    epoch: int
    """Epochs done."""
    epochs: int
    """Epochs in all."""
    loss: float
    """Mean cross-entropy of the epoch, in nats."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A trained network and what it achieves."""

    network: nn.Sequential
    """The network in eval mode, in training form (not merged)."""
    validation_accuracy: float
    """Share of validation images classified correctly, 0 .. 1."""
    test_accuracy: float | None
    """The same of test images; None if the data came without."""
    epochs: int
    """Epochs of training."""


def train_alone(
    root: Node,
    data: Data,
    *,
    seed: int,
    epochs: int,
    recipe: Recipe | None = None,
    on_progress: Callable[[Epoch], None] | None = None,
    initial: Mapping[str, Tensor] | None = None,
    threads: int = 1,
) -> Trained:
    """Train the network of a tree on `data.train`; look at test images once, at the end.

    The last weights are taken: nothing is chosen by validation images, and the same arguments give
    the same network on one kind of machine.

    Args:
        seed: decides initial weights, the order of images and how they move.
        epochs: passes over the training images, at least 1.
        on_progress: called after every epoch; may raise to stop.
        initial: weights to begin with, as `Candidate.state` gives them; random ones if None.
        threads: what torch computes with; more pay for large images only.

    Raises:
        ShapeError: a primitive does not serve the shape that reaches it.
        ValueError: `epochs` is below 1.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; got {epochs}")
    recipe = recipe or Recipe()
    generator = torch.Generator().manual_seed(seed)
    network = _initialised(root, data, seed, initial)
    with torch_threads(threads), torch.random.fork_rng(devices=[]):
        # Dropped paths draw from the global generator, which is put back afterwards.
        torch.default_generator.manual_seed(seed)
        steps = _Steps(network, data.train, recipe, epochs, generator)
        for epoch in range(epochs):
            loss = steps.epoch()
            if on_progress:
                on_progress(Epoch(epoch=epoch + 1, epochs=epochs, loss=loss))
        network.eval()
        validation = accuracy(network, data.validation)
        test = accuracy(network, data.test) if len(data.test) else None
    return Trained(
        network=network, validation_accuracy=validation, test_accuracy=test, epochs=epochs
    )


@torch.no_grad()
def accuracy(network: nn.Module, split: Split, batch: int = 256) -> float:
    """Share of images that a network in eval mode classifies correctly, 0 .. 1."""
    right = 0
    for images, labels in _batches(split, batch):
        logits = network(images.contiguous(memory_format=torch.channels_last))
        right += int((logits.argmax(1) == labels).sum())
    return right / len(split)


def _batches(split: Split, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    images, labels = torch.split(split.images, size), torch.split(split.labels, size)
    yield from zip(images, labels, strict=True)


class _Steps:
    """The steps of one training."""

    def __init__(
        self,
        network: nn.Module,
        train: Split,
        recipe: Recipe,
        epochs: int,
        generator: torch.Generator,
    ) -> None:
        self.network, self.train = network, train
        self.recipe, self.generator = recipe, generator
        # A last batch of one image has no variance for batch norm: it is left out.
        self.size = min(recipe.batch, len(train))
        self.total, self.done = epochs * (len(train) // self.size), 0
        parameters = list(network.parameters())
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.dim() > 1]},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )

    def epoch(self) -> float:
        self.network.train()
        losses = [self.step(index) for index in self.batches()]
        return sum(losses) / len(losses)

    def batches(self) -> Iterator[Tensor]:
        order = torch.randperm(len(self.train), generator=self.generator)
        yield from torch.split(order[: len(order) // self.size * self.size], self.size)

    def step(self, index: Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        schedule_drop_path(self.network, self.recipe.drop_path * self.done / self.total)
        images = shifted(self.train.images[index], self.recipe.shift, self.generator)
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(
            logits, self.train.labels[index], label_smoothing=self.recipe.label_smoothing
        )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.done += 1
        return loss.item()

    def rate(self) -> float:
        rise = max(1, round(self.recipe.warmup * self.total))
        if self.done < rise:
            return self.recipe.learning_rate * (self.done + 1) / rise
        share = (self.done - rise) / max(1, self.total - rise)
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def _initialised(
    root: Node, data: Data, seed: int, initial: Mapping[str, Tensor] | None
) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        # Primitives draw from the global generator, which is put back afterwards.
        torch.default_generator.manual_seed(seed)
        network = build(root, data.spec)
    if initial is not None:
        network.load_state_dict(dict(initial))
    return network
