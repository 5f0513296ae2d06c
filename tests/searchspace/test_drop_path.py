"""Dropped paths: how many, what is left, and the schedule."""

import pytest
import torch
from torch import nn

from searchspace.primitives.drop_path import DropPath, schedule_drop_path


def test_whole_samples_are_dropped_and_the_mean_is_kept():
    torch.manual_seed(0)
    layer, x = DropPath(40).train(), torch.ones(20000, 2, 3)
    layer.progress = 1.0
    y = layer(x)
    dropped = (y == 0).flatten(1)
    assert torch.equal(dropped.all(1), dropped.any(1))
    # Four standard deviations of a share of 20,000.
    assert dropped[:, 0].float().mean().item() == pytest.approx(0.4, abs=0.014)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / 0.6))


@pytest.mark.parametrize(("progress", "share"), [(0.25, 0.2), (0.5, 0.4)])
def test_the_share_grows_linearly(progress, share):
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Identity(), nn.Sequential(DropPath(80))).train()
    schedule_drop_path(layer, progress)
    gone = (layer(torch.ones(20000, 1)) == 0).float().mean().item()
    assert gone == pytest.approx(share, abs=0.015)


def test_it_is_the_identity_before_a_schedule_and_in_evaluation():
    layer, x = DropPath(99), torch.randn(4, 3, 5, 5)
    assert layer.train()(x) is x
    schedule_drop_path(layer, 1)
    assert layer.eval()(x) is x


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan")])
def test_progress_lies_between_0_and_1(progress):
    with pytest.raises(ValueError, match=r"progress must lie in 0 \.\. 1; got"):
        schedule_drop_path(DropPath(10), progress)
