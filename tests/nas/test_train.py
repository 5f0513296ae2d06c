"""Training a network by itself."""

from __future__ import annotations

from random import Random

import pytest
import torch

import nas.train
from nas.data import load_data
from nas.supernet.bank import WeightBank
from nas.train import Epoch, Recipe, accuracy, train_alone
from searchspace.build import build
from searchspace.primitives.drop_path import schedule_drop_path
from searchspace.read import read_grammar
from searchspace.sample import sample

TINY = """
space tiny : image[1, 8, 8] -> classes[10]
domain width = 16 | 24
network -> stem(w) block head with w : width
stem(w) is block -> strided_conv(w, 1) batch_norm
block is block -> residual(depthwise(3) batch_norm inverted(2, relu))
head is block -> global_pool layer_norm classifier(classes)
"""


@pytest.fixture(scope="module")
def data():
    return load_data("digits")


@pytest.fixture(scope="module")
def grammar():
    return read_grammar(TINY)


@pytest.fixture(scope="module")
def root(grammar):
    return sample(grammar, Random(0)).root


def test_it_learns_and_repeats_itself(data, root):
    epochs: list[Epoch] = []
    first = train_alone(root, data, seed=3, epochs=6, on_progress=epochs.append)
    torch.manual_seed(77)
    second = train_alone(root, data, seed=3, epochs=6)
    one, two = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert [e.epoch for e in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].loss < epochs[0].loss
    assert first.validation_accuracy > 0.5
    assert first.test_accuracy == accuracy(first.network, data.test)
    assert not first.network.training


def test_seeds_differ(data, root):
    one = train_alone(root, data, seed=0, epochs=1).network.state_dict()
    two = train_alone(root, data, seed=1, epochs=1).network.state_dict()
    assert not torch.equal(one["stem.0.conv.weight"], two["stem.0.conv.weight"])


def test_without_test_images_there_is_no_test_accuracy(data, root):
    assert train_alone(root, data.without_test(), seed=0, epochs=1).test_accuracy is None


def test_it_begins_with_the_weights_given(data, grammar, root):
    state = WeightBank(grammar, data.spec, seed=0).candidate(root).state()
    still = Recipe(learning_rate=0.0)
    trained = train_alone(root, data, seed=0, epochs=1, recipe=still, initial=state)
    for name, _ in build(root, data.spec).named_parameters():
        assert torch.equal(trained.network.state_dict()[name], state[name])


def test_no_epochs_are_refused(data, root):
    with pytest.raises(ValueError, match="at least 1; got 0"):
        train_alone(root, data, seed=0, epochs=0)


def test_paths_are_dropped_ever_more_often(data, monkeypatch):
    text = TINY.replace("inverted(2, relu)", "inverted(2, relu) drop_path(50)")
    root = sample(read_grammar(text), Random(0)).root
    seen: list[float] = []

    def spy(network, progress):
        seen.append(progress)
        schedule_drop_path(network, progress)

    monkeypatch.setattr(nas.train, "schedule_drop_path", spy)
    first = train_alone(root, data, seed=3, epochs=2)
    torch.manual_seed(77)
    again = train_alone(root, data, seed=3, epochs=2)
    half = len(seen) // 2
    assert seen[:half] == pytest.approx([i / half for i in range(half)])
    one, two = first.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    never = train_alone(root, data, seed=3, epochs=2, recipe=Recipe(drop_path=0)).network
    assert any(not torch.equal(one[n], t) for n, t in never.state_dict().items())
    assert not any(seen[2 * half :])
