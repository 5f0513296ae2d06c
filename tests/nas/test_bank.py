"""Which weights are shared, and that a slice of the bank is what a network computes with."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest
import torch

from nas.supernet.bank import BankError, WeightBank
from nas.supernet.judge import recalibrate
from nas.supernet.sizes import extreme, feeding, largest_relative
from searchspace.build import build
from searchspace.check import check
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.shapes import image
from searchspace.space import load_space
from searchspace.text import from_text
from searchspace.tree import walk

SPEC = image(1, 8, 8)
LIMITS = {
    "width": (32, 64),
    "depth": (1, 2),
    "stride": (1, 2),
    "kernel": (3, 7),
    "dilated_kernel": (5, 9),
    "band": (7, 9),
    "ratio": (1, 3),
}
TINY = """
space tiny : image[1, 8, 8] -> classes[3]
domain width = 4 | 8 | 12
domain kernel = 3 | 5 | 7
domain ratio = 1 | 2
domain depth = 1 .. 3
network -> stem(w) stage head with w : width
stem(w) is block -> strided_conv(w, 1) batch_norm
stage -> block ^ depth
block is block -> residual(mix inverted(ratio, relu))
mix -> depthwise(kernel) | dilated_reparam(large)
head is block -> global_pool classifier(classes)
domain large = 5 | 7 | 9
"""


@pytest.fixture(scope="module")
def grammar():
    return load_space("conv_large_kernel", spec=SPEC, classes=10, limits=LIMITS)


@pytest.fixture(scope="module")
def tiny():
    return read_grammar(TINY)


def tree(width: int, *blocks: str):
    rows = " ".join(f"block:0@float[residual[{block}]]" for block in blocks)
    return from_text(
        f"network:0({width})[stem:0@float({width})[strided_conv({width},1); batch_norm]; "
        f"stage:0[{rows}]; head:0@float[global_pool; classifier(3)]]"
    )


def depthwise(kernel: int, ratio: int = 1) -> str:
    return f"mix:0[depthwise({kernel})] inverted({ratio},relu)"


def dilated(kernel: int) -> str:
    return f"mix:1[dilated_reparam({kernel})] inverted(1,relu)"


def test_a_network_computes_with_its_slices(grammar):
    bank = WeightBank(grammar, SPEC, seed=1)
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    random = Random(2)
    for _ in range(12):
        root = sample(grammar, random).root
        candidate = bank.candidate(root)
        recalibrate(candidate, [images])
        network = build(root, SPEC)
        network.load_state_dict(candidate.state())
        with torch.no_grad():
            expected = network.eval()(images)
            found = candidate(images, training=False)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_slices_are_the_first_channels_and_the_central_window(tiny):
    bank = WeightBank(tiny, SPEC, seed=0)
    weights = bank.candidate(tree(8, depthwise(3, 2))).weights()
    depth = bank.tensors["stage.0/depthwise/conv.weight:12x1x7x7"]
    assert torch.equal(weights["stage.0.body.0.conv.weight"], depth[:8, :, 2:5, 2:5])
    project = bank.tensors["stage.0/inverted/project.weight:12x24x1x1"]
    assert torch.equal(weights["stage.0.body.1.project.weight"], project[:8, :16])


def test_gradients_touch_sampled_slices_only(tiny):
    bank = WeightBank(tiny, SPEC, seed=0)
    other = bank.candidate(tree(12, depthwise(7), dilated(5)))
    small = bank.candidate(tree(4, depthwise(3)))
    loss = small(torch.randn(4, 1, 8, 8), training=True).square().sum()
    loss.backward()
    gradient = bank.tensors["stage.0/depthwise/conv.weight:12x1x7x7"].grad
    assert gradient is not None
    assert gradient[:4, :, 2:5, 2:5].abs().sum() > 0
    outside = gradient.clone()
    outside[:4, :, 2:5, 2:5] = 0
    assert outside.abs().sum() == 0
    for key in set(other.keys) - set(small.keys):
        assert bank.tensors[key].grad is None


def test_networks_share_storage_by_place(tiny):
    bank = WeightBank(tiny, SPEC, seed=0)
    shallow = bank.candidate(tree(8, depthwise(5)))
    deep = bank.candidate(tree(12, depthwise(7), depthwise(5)))
    assert set(shallow.keys) < set(deep.keys)
    one = shallow.weights()["stage.0.body.0.conv.weight"]
    two = deep.weights()["stage.0.body.0.conv.weight"]
    assert one.untyped_storage().data_ptr() == two.untyped_storage().data_ptr()


def test_dilated_branches_are_shared_by_their_shape(tiny):
    bank = WeightBank(tiny, SPEC, seed=0)
    five, seven = bank.candidate(tree(8, dilated(5))), bank.candidate(tree(8, dilated(7)))
    shared = {key for key in set(five.keys) & set(seven.keys) if "dilated" in key}
    # Kernel 5 has branches (3, 1) and (3, 2), kernel 7 has (5, 1), (3, 2) and (3, 3).
    assert {key.split("/")[2].split(".")[0] for key in shared} == {"large", "3x2"}


def test_the_order_of_asking_does_not_matter(grammar):
    random = Random(4)
    roots = [sample(grammar, random).root for _ in range(6)]
    first, second = WeightBank(grammar, SPEC, seed=3), WeightBank(grammar, SPEC, seed=3)
    for root in roots:
        first.candidate(root)
    torch.manual_seed(99)
    for root in reversed(roots):
        second.candidate(root)
    one, two = first.state(), second.state()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert torch.initial_seed() == 99


def test_another_process_makes_the_same_bank(tiny):
    code = (
        f"from nas.supernet.bank import WeightBank\nfrom searchspace.read import read_grammar\n"
        f"from searchspace.shapes import image\nfrom searchspace.sample import sample\n"
        f"from random import Random\n"
        f"g = read_grammar({TINY!r})\nb = WeightBank(g, image(1, 8, 8), seed=5)\n"
        f"b.candidate(sample(g, Random(1)).root)\n"
        f"print(sum(float(t.double().abs().sum()) for t in b.state().values()).hex())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    bank = WeightBank(tiny, SPEC, seed=5)
    bank.candidate(sample(tiny, Random(1)).root)
    here = sum(float(t.double().abs().sum()) for t in bank.state().values())
    assert said.stdout.strip() == here.hex()


def test_seeds_differ_and_initial_values_are_published_ones(tiny):
    bank, other = WeightBank(tiny, SPEC, seed=0), WeightBank(tiny, SPEC, seed=1)
    root = tree(12, depthwise(7, 2))
    bank.candidate(root)
    other.candidate(root)
    key = "stage.0/inverted/project.weight:12x24x1x1"
    assert not torch.equal(bank.tensors[key], other.tensors[key])
    assert abs(float(bank.tensors[key].detach().std()) - 0.02) < 0.004
    assert float(bank.tensors["stage.0/inverted/project.bias:12"].detach().abs().max()) == 0


def test_saving_and_loading_is_the_identity(tiny, tmp_path):
    bank = WeightBank(tiny, SPEC, seed=0)
    bank.candidate(tree(8, dilated(9), depthwise(3)))
    path = tmp_path / "sub" / "bank.safetensors"
    bank.save(path)
    loaded = WeightBank.load(path, tiny, SPEC, seed=0)
    assert loaded.state().keys() == bank.state().keys()
    assert all(torch.equal(t, bank.state()[key]) for key, t in loaded.state().items())
    assert [entry.name for entry in path.parent.iterdir()] == ["bank.safetensors"]


def test_a_file_of_another_run_is_refused(tiny, tmp_path):
    path = tmp_path / "bank.safetensors"
    bank = WeightBank(tiny, SPEC, seed=0)
    bank.candidate(tree(8, depthwise(3)))
    bank.save(path)
    with pytest.raises(BankError, match=r"written for seed 0, but this run has 1"):
        WeightBank.load(path, tiny, SPEC, seed=1)
    narrowed = read_grammar(TINY, limits={"width": (4, 8)})
    with pytest.raises(BankError, match="written for space tiny"):
        WeightBank.load(path, narrowed, SPEC, seed=0)
    path.write_bytes(b"no tensors")
    with pytest.raises(BankError, match="cannot read the weights"):
        WeightBank.load(path, tiny, SPEC, seed=0)


def test_a_write_that_fails_leaves_the_old_file(tiny, tmp_path, monkeypatch):
    path = tmp_path / "bank.safetensors"
    bank = WeightBank(tiny, SPEC, seed=0)
    bank.candidate(tree(8, depthwise(3)))
    bank.save(path)
    before = path.read_bytes()

    def full(*args: object, **options: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("nas.supernet.bank.save_file", full)
    with pytest.raises(OSError, match="no space"):
        bank.save(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_extremes_are_derivations_at_the_ends(grammar):
    for seed in range(5):
        for pick, width, depth, stride in ((max, 64, 2, 1), (min, 32, 1, 2)):
            root = extreme(grammar, Random(seed), pick)
            check(grammar, root)
            # A small stride makes a large network.
            assert root.values == (width, stride, width, width, width)
            assert {len(n.flat()) for _, n in walk(root) if n.symbol == "stage"} == {depth}


def test_the_largest_relative_bounds_every_weight(grammar):
    random = Random(8)
    for _ in range(5):
        root = sample(grammar, random).root
        with torch.device("meta"):
            mine = build(root, SPEC)
            bound = build(largest_relative(grammar, root), SPEC)
        most = dict(bound.named_parameters())
        for name, weight in mine.named_parameters():
            if "convs" in name or "norms" in name:
                continue
            assert all(a <= b for a, b in zip(weight.shape, most[name].shape, strict=True))


def test_domains_are_traced_to_the_parameters_they_feed(grammar):
    windows = {"kernel", "dilated_kernel", "band", "context", "window"}
    assert feeding(grammar, "kernel") == windows
    assert feeding(grammar, "out") == {"width", "half"}
    assert feeding(grammar, "stride") == {"stride"}


def test_copies_of_a_body_have_weights_of_their_own():
    space = read_grammar(
        "space s : image[4, 6, 6] -> classes[2]\ndomain width = 8 | 16\n"
        "net -> body head\n"
        "body is block -> fork_copies(4, group1, concat1, windows(3, 1, last_linear(width)))\n"
        "head is block -> mean_pool classifier(classes)\n"
    )
    spec = image(4, 6, 6)
    bank = WeightBank(space, spec, seed=0)
    root = sample(space, Random(0)).root
    candidate = bank.candidate(root)
    keys = {key for key in candidate.keys if "last_linear" in key and "weight" in key}
    assert len({bank.tensors[key].flatten()[0].item() for key in keys}) == len(keys) == 4
    network = build(root, spec).eval()
    network.load_state_dict(candidate.state())
    x = torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(candidate(x, training=False), network(x))
