"""Channel layers of particular networks, against their formulas."""

import torch
from torch.nn import functional as F

from searchspace.primitives.channel_mixers import Excite, InvertedResponse, ResponseNorm


def test_the_response_norm_starts_as_the_identity():
    x = torch.randn(2, 6, 3, 3)
    assert torch.equal(ResponseNorm(6)(x), x)


def test_the_response_norm_lets_channels_compete():
    """A channel three times as strong as the other has 1.5 times the mean response."""
    layer = ResponseNorm(2)
    torch.nn.init.ones_(layer.scale)
    torch.nn.init.constant_(layer.bias, 0.25)
    x = torch.stack((torch.full((4, 4), 3.0), torch.full((4, 4), -1.0)))[None]
    y = layer(x)
    torch.testing.assert_close(y[0, 0], torch.full((4, 4), 3 * 2.5 + 0.25))
    torch.testing.assert_close(y[0, 1], torch.full((4, 4), -1.5 + 0.25))


def test_the_response_norm_does_not_depend_on_a_common_factor():
    generator = torch.Generator().manual_seed(0)
    layer = ResponseNorm(5).double()
    torch.nn.init.normal_(layer.scale, generator=generator)
    x = torch.randn(1, 5, 4, 4, dtype=torch.float64, generator=generator)
    # But for the small number that keeps a division by nothing finite.
    torch.testing.assert_close(layer(100 * x), 100 * layer(x), rtol=1e-5, atol=0.0)


def test_channels_that_are_all_zero_have_finite_gradients():
    layer = InvertedResponse(4, 2, "relu")
    torch.nn.init.ones_(layer.norm.scale)
    x = torch.zeros(1, 4, 3, 3, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.isfinite().all()


def test_gates_lie_between_0_and_1_and_the_hard_one_closes():
    torch.manual_seed(0)
    x = torch.rand(2, 6, 4, 4) + 0.5
    for gate in ("sigmoid", "hardsigmoid"):
        layer = Excite(6, 3, "relu", gate)
        ratio = layer(x) / x
        torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))
        assert ((ratio > 0) & (ratio < 1)).all()
    torch.nn.init.constant_(layer.excite.bias, -4)  # hard sigmoid is 0 from -3 down
    assert not layer(x).any()
    assert F.hardsigmoid(torch.tensor(-3.0)) == 0
