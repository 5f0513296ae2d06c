"""Importing what other people wrote."""

import json
import sys

import pytest
import torch
from command_line import printed

from nas.foreign import import_foreign

MODEL = """
import torch
from torch import nn


def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
"""
BROKEN = """
import torch

print("a word of welcome")


for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{name}", lambda dets, scores, threshold: dets)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of models that imports a package whose operators are missing."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "fake_vision.py").write_text(BROKEN)
    (tmp_path / "fake_zoo.py").write_text(f"import fake_vision\n{MODEL}")
    (tmp_path / "fake_fault.py").write_text("raise RuntimeError('operator other::nms is odd')")
    yield
    for name in ("fake_vision", "fake_zoo", "fake_fault"):
        sys.modules.pop(name, None)


def test_a_torchvision_without_its_operators_does_not_keep_models_from_loading(package, capsys):
    if hasattr(torch.ops.torchvision, "nms"):
        pytest.skip("this process has torchvision's operators")
    out = printed(capsys, "predict", "fake_zoo:net", "--target", "a100", "--json")
    (kernel,) = json.loads(out)["kernels"]
    assert kernel["detail"] == "convolution+batch_norm+relu"


def test_other_faults_of_an_import_are_told_as_they_are(package):
    with pytest.raises(RuntimeError, match="operator other::nms is odd"):
        import_foreign("fake_fault")
    with pytest.raises(ModuleNotFoundError, match="fake_nothing"):
        import_foreign("fake_nothing")
