"""What a network achieves with the weights it inherits from a bank."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.data import Data, Split
from nas.supernet.bank import Candidate, WeightBank
from nas.threads import torch_threads
from searchspace.tree import Node

CALIBRATION = 128
"""Training images that batch norm's statistics are made from."""
BATCH = 128
"""Images in a forward pass."""


def inherited_accuracy(bank: WeightBank, root: Node, data: Data) -> float:
    """Share of validation images that a network with inherited weights classifies correctly.

    Statistics of batch norm are made anew from training images first. One thread computes, so that
    the same bank gives the same value, bit for bit, in every process of a machine.

    Raises:
        TreeError: the bank's grammar does not generate the tree.
        ShapeError: a primitive does not serve the shape that reaches it.
    """
    candidate = bank.candidate(root)
    with torch_threads(1):
        recalibrate(candidate, calibration_batches(data.train))
        return accuracy(candidate, data.validation)


@torch.no_grad()
def recalibrate(candidate: Candidate, batches: list[Tensor]) -> None:
    """Set batch norm's statistics to the means over batches `[batch, C, H, W]` of one size.

    A running variance is the mean of the batches' unbiased variances, as torch keeps it (SPOS,
    arXiv 1904.00420, section 3.4). Without batch norm nothing is computed.
    """
    candidate.reset_statistics()
    if not candidate.statistics:
        return
    for batch in batches:
        candidate(batch, training=True)


@torch.no_grad()
def accuracy(candidate: Candidate, split: Split) -> float:
    """Share of images classified correctly, in 0 .. 1; logits that are NaN count as wrong."""
    right = 0
    batches = zip(torch.split(split.images, BATCH), torch.split(split.labels, BATCH), strict=True)
    for images, labels in batches:
        logits = candidate(images, training=False)
        sound = logits.isfinite().all(1)
        right += int(((logits.argmax(1) == labels) & sound).sum())
    return right / len(split)


def calibration_batches(train: Split) -> list[Tensor]:
    """The fixed images for `recalibrate`: the first of the training set, in batches of one size."""
    count = min(CALIBRATION, len(train))
    size = min(BATCH, count)
    return list(torch.split(train.images[: count // size * size], size))
