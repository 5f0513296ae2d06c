import torch
from torch import nn

from hwprofile.allocator import held_bytes


def test_results_last_and_workspace_does_not() -> None:
    x = torch.ones(4, 1000)
    # All three results stand side by side at the end.
    assert held_bytes(lambda: (x + 1, x * 2, x.exp())).tensors == 3 * 16_000
    # A sum that is dropped at once never meets the next.
    assert held_bytes(lambda: [x.exp().sum() for _ in range(3)]).tensors == 16_000 + 3 * 4


def test_what_an_operation_gives_back_is_workspace() -> None:
    x, conv = torch.ones(1, 4, 20, 20), nn.Conv2d(4, 8, 3).eval()
    with torch.inference_mode():
        conv(x)
        # In another layout than the library's, which may copy the input within the operation.
        held = held_bytes(lambda: conv(x))
    assert held.tensors == 4 * 8 * 18 * 18
    assert held.all >= held.tensors


def test_views_and_what_was_there_before_cost_nothing() -> None:
    box = [torch.ones(1000)]
    assert held_bytes(lambda: box[0].view(10, 100).t()).tensors == 0
    assert held_bytes(box.clear).tensors == 0
