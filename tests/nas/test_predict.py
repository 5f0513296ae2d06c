"""Pricing one network: of an export, of a file, of a callable."""

import json
import sys
from pathlib import Path

import pytest
import torch
from small_space import grammar_of
from strategies import drawn

from hwprofile.blocks import BlockTable
from hwprofile.targets import get_target
from hwprofile.trace import TraceError
from nas.export.folder import export
from nas.plugins import PluginError
from nas.predict import predict_network
from nas.usage import UsageError
from predictors.latency import LatencyPredictor
from searchspace.build import build
from searchspace.shapes import image

A100 = get_target("a100")
SPEC = image(3, 32, 32)
NETS = """
from torch import nn

built = nn.Conv2d(3, 4, 1)
def net():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
def raises():
    raise RuntimeError("no weights here")
def narrow():
    return nn.Conv2d(7, 4, 1)
class Asks(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x
class Holder:
    net = net
word = "text"
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    name = "nets_of_a_stranger"
    (tmp_path / f"{name}.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield name
    sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    architecture = drawn(grammar_of(), 5)
    facts = {"batch": 4, "precision": "bf16"}
    folder = tmp_path_factory.mktemp("export") / "net"
    return architecture, export(architecture, SPEC, folder, facts=facts)


def test_an_export_is_priced_as_the_search_priced_it(exported):
    architecture, folder = exported
    costs = BlockTable(SPEC, batch=4, precision="bf16").costs(architecture.root)
    wanted = LatencyPredictor(A100).latency(costs)
    found = predict_network(str(folder), A100)
    assert (found["latency_ms"], found["low_ms"], found["high_ms"]) == (
        wanted.value,
        wanted.low,
        wanted.high,
    )
    assert (found["batch"], found["precision"]) == (4, "bf16")
    assert found["key"] == architecture.key


def test_what_is_typed_goes_before_what_is_recorded(exported):
    _, folder = exported
    found = predict_network(str(folder), A100, batch=1, resolution=64, precision="fp32")
    assert (found["batch"], found["precision"], found["input"]) == (1, "fp32", [3, 64, 64])
    assert {row["scheme"] for row in found["kernels"]} == {"fp32"}
    smaller = predict_network(str(folder), A100, batch=1)
    assert found["macs"] > 3 * smaller["macs"]


def test_every_kernel_says_which_module_launched_it(exported):
    architecture, folder = exported
    with torch.device("meta"):
        network = build(architecture.root, SPEC)
    modules = dict(network.named_modules())
    paths = [row["path"] for row in predict_network(str(folder), A100)["kernels"]]
    # What merges its branches runs in a form that the module in training does not have.
    assert all(path.removesuffix(".merged") in modules for path in paths)
    assert paths[0].startswith("stem")
    assert paths[-1].startswith("head")


def test_a_prediction_is_plain_json_whose_rows_add_up(exported):
    found = predict_network(str(exported[1]), A100)
    assert json.loads(json.dumps(found)) == found
    for name in ("latency_ms", "low_ms", "high_ms"):
        assert sum(row[name] for row in found["kernels"]) == pytest.approx(found[name])
    assert sum(row["flops"] for row in found["kernels"]) >= 2 * 4 * found["macs"]


@pytest.mark.parametrize("place", ["net", "Holder.net"])
def test_a_callable_is_priced_by_its_module(nets, place):
    found = predict_network(f"{nets}:{place}", A100, batch=2, resolution=8)
    assert found["macs"] == 64 * 3 * 4
    assert found["params"] == 3 * 4 + 4 + 8
    assert found["input"] == [3, 8, 8]
    (kernel,) = found["kernels"]
    assert kernel["detail"].startswith("convolution")
    # Input and output live at once, in two bytes each; nothing else does.
    assert found["peak_bytes"] >= 2 * 2 * 64 * (3 + 4)


def test_a_module_that_exists_already_is_taken_as_it_is(nets):
    found = predict_network(f"{nets}:built", A100)
    assert (found["macs"], found["input"]) == (224 * 224 * 12, [3, 224, 224])


def test_channels_of_a_callable_can_be_told(nets):
    found = predict_network(f"{nets}:narrow", A100, resolution=4, channels=7)
    assert found["macs"] == 16 * 28


@pytest.mark.parametrize(
    ("place", "kind", "said"),
    [
        ("raises", PluginError, "it raised RuntimeError: no weights here"),
        ("word", PluginError, "must return an nn.Module when called without arguments"),
        ("nothing", PluginError, "has no 'nothing', asked for as network"),
        ("narrow", TraceError, "convolution refuses shapes"),
        ("Asks", TraceError, "value"),
    ],
)
def test_what_cannot_be_priced_says_why(nets, place, kind, said):
    with pytest.raises(kind, match=said):
        predict_network(f"{nets}:{place}", A100, resolution=8)


def test_neither_a_file_nor_a_callable(tmp_path):
    with pytest.raises(UsageError, match="no file or folder 'nothing'; give an exported folder"):
        predict_network("nothing", A100)
    with pytest.raises(PluginError, match="cannot import"):
        predict_network(f"{tmp_path}/missing:net", A100)


def test_the_callables_parameters_are_never_allocated(nets, tmp_path):
    text = "\nclass Huge(nn.Sequential):\n    def __init__(self):\n"
    text += "        super().__init__(nn.Flatten(), nn.Linear(12, 10**12))\n"
    Path(f"{nets}.py").write_text(NETS + text)
    found = predict_network(f"{nets}:Huge", A100, resolution=2)
    assert found["params"] == 13 * 10**12
