"""How well inherited accuracy ranks networks: Kendall's tau against training each by itself.

    python benchmarks/supernet_rank.py --data digits --candidates 12 --epochs 15

Candidates are drawn at random from the narrowed space. Their own accuracy is on validation and test
images together: nothing is chosen here, and more images rank finer. Tau is tau-b, which allows for
ties; its interval is the 2.5 and 97.5 % quantile over candidates drawn with replacement.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from random import Random

import numpy as np
import torch
from scipy.stats import kendalltau

from nas.data import Data, load_data
from nas.supernet.bank import WeightBank
from nas.supernet.judge import inherited_accuracy
from nas.supernet.limits import default_limits
from nas.supernet.train import Schedule, train_supernet
from nas.train import train_alone
from searchspace.grammar import Grammar
from searchspace.sample import sample
from searchspace.space import load_space
from searchspace.tree import Node

RESAMPLES = 2000


def narrowed(space: str, data: Data) -> Grammar:
    limits = default_limits(load_space(space, classes=data.classes), data.spec)
    return load_space(space, classes=data.classes, limits=limits)


def alone(root: Node, data: Data, seed: int, epochs: int) -> tuple[float, float]:
    """Accuracy on validation and test images together, and on test images."""
    trained = train_alone(root, data, seed=seed, epochs=epochs)
    assert trained.test_accuracy is not None
    right = trained.validation_accuracy * len(data.validation)
    right += trained.test_accuracy * len(data.test)
    return right / (len(data.validation) + len(data.test)), trained.test_accuracy


def tau_interval(first: list[float], second: list[float], seed: int) -> tuple[float, float, float]:
    """Kendall's tau-b with the bounds of its 95 % bootstrap interval."""
    generator = np.random.default_rng(seed)
    pairs = np.array([first, second])
    draws = []
    for _ in range(RESAMPLES):
        x, y = pairs[:, generator.integers(0, len(first), len(first))]
        draws.append(kendalltau(x, y).statistic)
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return float(kendalltau(first, second).statistic), float(low), float(high)


def timed_bank(grammar: Grammar, data: Data, options: argparse.Namespace) -> WeightBank:
    wall, processor = time.perf_counter(), time.process_time()
    bank = train_supernet(
        grammar,
        data.without_test(),
        seed=options.seed,
        schedule=Schedule(steps=options.steps),
        checkpoint=options.checkpoint,
        resume_from=options.checkpoint
        if options.checkpoint and options.checkpoint.exists()
        else None,
    )
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"supernet: {options.steps} steps, {wall:.1f} s, {processor:.1f} s of one core")
    return bank


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--space", default="conv_large_kernel")
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--steps", type=int, default=Schedule().steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, help="where shared weights are kept")
    options = parser.parse_args()
    data = load_data(options.data)
    grammar = narrowed(options.space, data)
    bank = timed_bank(grammar, data, options)
    random = Random(options.seed + 1)
    inherited, own, tests = [], [], []
    for number in range(options.candidates):
        root = sample(grammar, random).root
        start = time.process_time()
        inherited.append(inherited_accuracy(bank, root, data))
        middle = time.process_time()
        accuracy, test = alone(root, data, number % 3, options.epochs)
        own.append(accuracy)
        tests.append(test)
        print(
            f"{number:3d} inherited {inherited[-1]:.3f} in {middle - start:.2f} s, alone "
            f"{accuracy:.4f}, test {test:.4f} in {time.process_time() - middle:.1f} s of one core",
            flush=True,
        )
    tau, low, high = tau_interval(inherited, own, options.seed)
    row = {
        "metric": "kendall_tau_b",
        "value": round(tau, 3),
        "low": round(low, 3),
        "high": round(high, 3),
        "candidates": options.candidates,
        "steps": options.steps,
        "epochs": options.epochs,
        "seed": options.seed,
        "test_least": min(tests),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
