"""The weighted convolution against loops over its windows."""

import pytest
import torch
from torch.nn import functional as F

from searchspace.primitives.weighted_convolution import WeightedConv


def _plainly(x, weight, stride):
    """Each output as a sum over its window, zeros outside of the image."""
    out, _, k, _ = weight.shape
    padded = F.pad(x, (k // 2,) * 4)
    rows, columns = (range(0, size, stride) for size in x.shape[2:])
    y = torch.zeros(x.shape[0], out, len(rows), len(columns))
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            window = padded[:, :, r : r + k, c : c + k].flatten(1)
            y[:, :, i, j] = window @ weight.flatten(1).T
    return y


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (7, 3)])
def test_neighbours_count_by_their_distance_from_the_centre(kernel, stride):
    torch.manual_seed(0)
    layer, x = WeightedConv(3, 4, kernel, stride), torch.randn(2, 3, 7, 8)
    with torch.no_grad():
        layer.density.uniform_(0.2, 1.8)
    # The density of a place: the product of what its row and its column count for.
    counts = {0: 1.0} | {d + 1: v for d, v in enumerate(layer.density.tolist())}
    weighted, half = layer.conv.weight.detach().clone(), kernel // 2
    for r in range(kernel):
        for c in range(kernel):
            weighted[:, :, r, c] *= counts[abs(r - half)] * counts[abs(c - half)]
    torch.testing.assert_close(layer(x), _plainly(x, weighted, stride), rtol=1e-4, atol=1e-5)


def test_it_starts_as_a_plain_convolution_and_learns_its_density():
    torch.manual_seed(0)
    layer, x = WeightedConv(3, 8, 5, 1), torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.conv.weight, padding=2))
    layer(x).square().sum().backward()
    assert layer.density.grad.abs().min() > 0
    # As many parameters as a convolution, and one for each distance from the centre.
    assert sum(p.numel() for p in layer.parameters()) == 3 * 8 * 25 + 2


def test_at_inference_it_is_one_convolution():
    layer = WeightedConv(3, 4, 3, 1)
    with torch.no_grad():
        layer.density.fill_(0.5)
    layer.merge()
    layer.merge()
    assert [name for name, _ in layer.named_parameters()] == ["conv.weight"]
    corner = layer.weight()[:, :, 0, 0]
    fresh = WeightedConv(3, 4, 3, 1, merged=True)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh.weight()[:, :, 0, 0], corner)
