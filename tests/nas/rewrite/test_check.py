"""Replacements that compute something else are refused, and only they."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import nas
from nas.rewrite import products
from nas.rewrite.check import OptimizeError
from searchspace.primitives.channel_mixers import Pointwise
from searchspace.primitives.composite import Residual


def test_inputs_that_are_written_into_do_not_mislead_the_check() -> None:
    class Writes(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            x = x.clone()
            y = self[0](x)
            x += 1
            return self[1](y) + x

    torch.manual_seed(0)
    body = nn.Sequential(nn.SiLU(inplace=True), Pointwise(4))
    for original in (Writes(Pointwise(4), nn.ReLU()).eval(), Residual(body).eval()):
        module, report = nas.optimize(original, (2, 4, 5, 5))
        assert len(report.replaced) == (1 if isinstance(original, Writes) else 2)
        x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(module(x.clone()), original(x.clone()), rtol=1e-4, atol=1e-5)


def test_a_forward_that_looks_into_a_layer_is_told() -> None:
    class Nosy(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[0](x) / self[0].in_features

    with pytest.raises(OptimizeError, match=r"looks into a layer that was replaced.*in_features"):
        nas.optimize(Nosy(nn.Linear(4, 4)).eval(), (2, 4))


def test_outputs_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products.Gemm, "forward", lambda self, x: x @ self.weight.t())
    torch.manual_seed(0)
    # The factor hides the difference from the network's output.
    hidden = nn.Sequential(nn.Linear(4, 4), Tiny(), nn.Linear(4, 4, bias=False)).eval()
    with pytest.raises(OptimizeError, match=r"gemm in the place of '0' differs by"):
        nas.optimize(hidden, (2, 4))


def test_outputs_that_cannot_be_compared_are_refused() -> None:
    broken = nn.Linear(4, 4).eval()
    broken.weight.data.fill_(torch.nan)
    with pytest.raises(OptimizeError, match="finite"):
        nas.optimize(broken, (2, 4))


class Tiny(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1 + 1e-9 * x
