"""A file of measured networks corrects a target, in prices and in searches."""

import sys

import pytest

from hwprofile.calibration import CalibrationError
from hwprofile.targets import get_target
from nas.calibrate import calibrated
from nas.config import Config, ConfigError
from nas.predict import predict_network

NETS = """
from torch import nn

def net(width, depth=3):
    layers = [nn.Conv2d(3, width, 3, padding=1)]
    for _ in range(depth):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
def a():
    return net(16)
def b():
    return net(32, 2)
def c():
    return net(64, 5)
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    name = "measured_nets_of_a_stranger"
    (tmp_path / f"{name}.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield name
    sys.modules.pop(name, None)


def test_networks_that_took_twice_as_long_double_prices(nets, tmp_path):
    target, path = get_target("a100"), tmp_path / "measured.csv"
    lines = ["network,latency_ms,batch,resolution"]
    for one in "abc":
        found = predict_network(f"{nets}:{one}", target, batch=4, resolution=32)
        lines.append(f"{nets}:{one},{2 * found['latency_ms']},4,32")
    path.write_text("\n".join(lines))
    again = predict_network(f"{nets}:b", calibrated(target, path), batch=2, resolution=64)
    plain = predict_network(f"{nets}:b", target, batch=2, resolution=64)
    assert again["latency_ms"] == pytest.approx(2 * plain["latency_ms"], rel=1e-3)
    assert again["high_ms"] / again["latency_ms"] < plain["high_ms"] / plain["latency_ms"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("network,ms\nx:y,1", "the columns are network, latency_ms"),
        ("network,latency_ms\nx:y,nan", "line 1: latency_ms must be above 0; got 'nan'"),
        ("network,latency_ms\nx:y,-3", "line 1: latency_ms must be above 0"),
        ("network,latency_ms\n", "at least 3 networks"),
        ("network,latency_ms,batch\nx:y,1,many", "line 1: batch must be above 0; got 'many'"),
    ],
)
def test_files_at_fault_are_told(tmp_path, text, said):
    path = tmp_path / "measured.csv"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=said):
        calibrated(get_target("a100"), path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(CalibrationError, match="must exist"):
        calibrated(get_target("a100"), tmp_path / "none.csv")


def test_a_configuration_holds_its_calibration():
    factors = {"factors": {"gemm": 1.2}, "other": 1.1, "low": 0.9, "high": 1.1}
    config = Config(
        space="s", space_text="t", target="a100", budget_ms=None, calibration={**factors}
    )
    assert Config.from_json(config.to_json()) == config
    with pytest.raises(ConfigError, match="'calibration' must be an object"):
        Config.from_json({**config.to_json(), "calibration": {"factors": {"gemm": "much"}}})
