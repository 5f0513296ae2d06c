"""Training by the sandwich rule, judging with inherited weights, and the limits of a space."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch
from torch import nn

from nas.data import Split, load_data
from nas.supernet.bank import BankError, WeightBank
from nas.supernet.judge import accuracy, calibration_batches, inherited_accuracy, recalibrate
from nas.supernet.limits import default_limits, macs_counter
from nas.supernet.sizes import extreme
from nas.supernet.train import Progress, Schedule, sandwich, train_supernet
from searchspace.build import build, flow
from searchspace.check import TreeError
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.shapes import image
from searchspace.space import load_space
from searchspace.tree import walk

TINY = """
space tiny : image[1, 8, 8] -> classes[10]
domain width = 8 | 12 | 16
domain kernel = 3 | 5
domain depth = 1 .. 2
network -> stem(w) stage head with w : width
stem(w) is block -> strided_conv(w, 2) batch_norm
stage -> block ^ depth
block is block -> residual(depthwise(kernel) batch_norm inverted(2, relu) layer_scale)
head is block -> global_pool layer_norm classifier(classes)
"""
UNFIT = """
space unfit : image[1, 8, 8] -> classes[10]
domain width = 4 | 8
network -> strided_conv(w, 1) block head with w : width
block is block -> mix
mix -> shift | depthwise(3)
head is block -> global_pool classifier(classes)
"""
SCHEDULE = Schedule(steps=6, batch=32)


@pytest.fixture(scope="module")
def grammar():
    return read_grammar(TINY)


@pytest.fixture(scope="module")
def data():
    return load_data("digits").without_test()


def same(first: WeightBank, second: WeightBank) -> bool:
    one, two = first.state(), second.state()
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_the_same_seed_gives_the_same_bank(grammar, data):
    banks = []
    for seed, threads in ((0, 2), (0, 1), (1, 1)):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        banks.append(train_supernet(grammar, data, seed=seed, schedule=SCHEDULE))
        torch.set_num_threads(before)
    assert same(banks[0], banks[1])
    assert not same(banks[0], banks[2])


def test_training_leaves_the_global_generator_alone(grammar, data):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train_supernet(grammar, data, seed=0, schedule=replace(SCHEDULE, steps=1))
    assert torch.equal(torch.get_rng_state(), before)


class KilledError(Exception):
    """Stands for the end of the process."""


def test_a_killed_run_resumes_to_the_same_bank(grammar, data, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    whole = train_supernet(grammar, data, seed=0, schedule=SCHEDULE)

    def die(progress: Progress) -> None:
        if progress.step == 5:
            raise KilledError

    with pytest.raises(KilledError):
        train_supernet(
            grammar,
            data,
            seed=0,
            schedule=SCHEDULE,
            on_progress=die,
            checkpoint=path,
            checkpoint_every=4,
        )
    seen: list[int] = []
    resumed = train_supernet(
        grammar,
        data,
        seed=0,
        schedule=SCHEDULE,
        on_progress=lambda progress: seen.append(progress.step),
        checkpoint=path,
        resume_from=path,
    )
    assert seen == [5, 6]
    assert same(whole, resumed)
    complete = train_supernet(grammar, data, seed=0, schedule=SCHEDULE, resume_from=path)
    assert same(whole, complete)
    with pytest.raises(BankError, match="written for schedule"):
        train_supernet(grammar, data, seed=0, resume_from=path)


def test_a_batch_that_cannot_be_quartered_is_refused(grammar, data):
    for batch in (0, 30):
        with pytest.raises(ValueError, match=rf"multiple of 4; got {batch}"):
            train_supernet(grammar, data, seed=0, schedule=Schedule(batch=batch))


def test_a_small_training_set_makes_a_small_batch(grammar, data):
    few = replace(data, train=Split(data.train.images[:30], data.train.labels[:30]))
    train_supernet(grammar, few, seed=0, schedule=Schedule(steps=3, batch=128))


def test_a_tree_of_another_space_is_refused(grammar, data):
    root = sample(read_grammar(TINY, limits={"width": (16, 16)}), Random(0)).root
    narrow = read_grammar(TINY, limits={"width": (8, 12)})
    with pytest.raises(TreeError, match="width must be one of"):
        WeightBank(narrow, data.spec, seed=0).candidate(root)


def test_training_learns(grammar, data):
    losses: list[float] = []
    bank = train_supernet(
        grammar,
        data,
        seed=0,
        schedule=Schedule(steps=80, batch=128, learning_rate=0.02, shift=0),
        on_progress=lambda progress: losses.append(progress.loss),
    )
    assert losses[0] == pytest.approx(2.303, abs=0.1)
    assert sum(losses[-5:]) / 5 < 1.6
    assert inherited_accuracy(bank, extreme(grammar, Random(0), max), data) > 0.6


def test_the_sandwich_holds_both_ends(grammar):
    widths = [root.values[0] for root in sandwich(grammar, Random(3))]
    assert widths[:2] == [16, 8]
    assert len(widths) == 4


def test_the_networks_of_a_step_fit_the_images():
    grammar = read_grammar(UNFIT)
    for seed in range(5):
        for root in sandwich(grammar, Random(seed)):
            flow(root, image(1, 8, 8))


def test_recalibration_is_the_mean_over_batches(grammar, data):
    bank = WeightBank(grammar, data.spec, seed=0)
    root = extreme(grammar, Random(1), max)
    candidate = bank.candidate(root)
    candidate(data.train.images[500:600], training=True)
    batches = [data.train.images[i : i + 50] for i in (0, 50, 100)]
    recalibrate(candidate, batches)
    weights = candidate.weights()
    stem = [
        nn.functional.conv2d(b, weights["stem.0.conv.weight"], weights["stem.0.conv.bias"], 2, 1)
        for b in batches
    ]
    mean = torch.stack([y.mean((0, 2, 3)) for y in stem]).mean(0)
    variance = torch.stack([y.var((0, 2, 3)) for y in stem]).mean(0)
    torch.testing.assert_close(candidate.statistics["stem.1.running_mean"], mean.detach())
    torch.testing.assert_close(candidate.statistics["stem.1.running_var"], variance.detach())
    assert int(candidate.statistics["stem.1.num_batches_tracked"]) == 3


def test_statistics_belong_to_the_candidate(grammar, data):
    bank = WeightBank(grammar, data.spec, seed=0)
    root = extreme(grammar, Random(1), max)
    first, second = bank.candidate(root), bank.candidate(root)
    recalibrate(first, calibration_batches(data.train))
    assert float(second.statistics["stem.1.running_mean"].abs().max()) == 0
    assert float(first.statistics["stem.1.running_mean"].abs().max()) > 0


def test_inherited_accuracy_is_that_of_the_network_with_the_weights(grammar, data):
    bank = train_supernet(grammar, data, seed=0, schedule=SCHEDULE)
    root = sample(grammar, Random(2)).root
    found = inherited_accuracy(bank, root, data)
    assert found == inherited_accuracy(bank, root, data)
    candidate = bank.candidate(root)
    recalibrate(candidate, calibration_batches(data.train))
    assert accuracy(candidate, data.validation) == found
    network = build(root, data.spec)
    network.load_state_dict(candidate.state())
    with torch.no_grad():
        logits = network.eval()(data.validation.images)
    right = int((logits.argmax(1) == data.validation.labels).sum())
    assert right / len(data.validation) == pytest.approx(found, abs=1 / len(data.validation))


def test_logits_that_are_not_numbers_count_as_wrong(grammar, data):
    bank = WeightBank(grammar, data.spec, seed=0)
    root = sample(grammar, Random(2)).root
    candidate = bank.candidate(root)
    bias = next(key for key in candidate.keys if "linear.bias" in key)
    bank.tensors[bias].detach().fill_(float("nan"))
    assert inherited_accuracy(bank, root, data) == 0.0


def test_limits_follow_the_image_and_the_cost():
    spec = image(1, 8, 8)
    grammar = load_space("conv_large_kernel", classes=10)
    asked: list[int] = []

    def macs(root):
        asked.append(root.values[0])
        return root.values[0] * 1000

    limits = default_limits(grammar, spec, macs=macs, macs_per_image=65_000, depth=3)
    assert limits == {
        "kernel": (3, 7),
        "dilated_kernel": (5, 7),
        "band": (7, 7),
        "context": (5, 7),
        "window": (3, 7),
        "stride": (1, 1),
        "depth": (1, 3),
        "half": (16, 72),
        "width": (32, 64),
    }
    assert max(asked) == 80
    narrowed = load_space("conv_large_kernel", classes=10, limits=limits)
    build(sample(narrowed, Random(0)).root, spec)


def test_limits_leave_a_large_image_its_kernels():
    grammar = load_space("conv_large_kernel", limits={"width": (64, 80), "half": (32, 40)})
    limits = default_limits(grammar, image(3, 224, 224), macs=lambda root: 0)
    assert limits["kernel"] == (3, 31)
    assert limits["stride"] == (1, 4)
    assert limits["width"] == (64, 80)


def test_limits_keep_what_was_narrowed_before():
    seen: set[int] = set()

    def macs(root):
        seen.update(n.values[0] for _, n in walk(root) if n.symbol == "inverted")
        return 0

    grammar = load_space(
        "conv_large_kernel", limits={"ratio": (1, 2), "width": (32, 48), "half": (16, 24)}
    )
    default_limits(grammar, image(1, 8, 8), macs=macs)
    assert seen == {2}


def test_operations_are_counted_by_arithmetic(grammar):
    root = extreme(grammar, Random(0), min)
    block = 16 * 8 * 9 + 2 * 16 * 8 * 16
    assert macs_counter(image(1, 8, 8))(root) == 16 * 8 * 9 + block + 80
