import pytest
import torch
from torch import Tensor, nn

from hwprofile.runtime import RUNTIMES
from hwprofile.whole import WholeError, ready, time_networks

CPU = torch.device("cpu")


class Seen(nn.Module):
    """Keeps how its input came."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.inputs: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.inputs.append(x)
        return self.conv(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("scheme", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_network_runs_as_its_runtime_has_it(scheme: str, dtype: torch.dtype) -> None:
    module = Seen().eval()
    network = ready(module, (2, 3, 8, 8), RUNTIMES["cpu-eager"], scheme, device=CPU)
    before = len(module.inputs)
    assert before > 0
    result = network()
    assert isinstance(result, Tensor)
    assert (tuple(result.shape), result.dtype) == ((2, 4, 6, 6), dtype)
    assert len(module.inputs) == before + 1
    assert module.inputs[-1].is_contiguous()
    assert not result.requires_grad


def test_a_network_needs_a_runtime_of_its_device_and_a_format() -> None:
    with pytest.raises(WholeError, match=r"runs on a cpu.*; cuda-graph is of cuda"):
        ready(Seen(), (1, 3, 8, 8), RUNTIMES["cuda-graph"], "fp32", device=CPU)
    with pytest.raises(WholeError, match="run in fp32, fp16, bf16; got 'w8a8'"):
        ready(Seen(), (1, 3, 8, 8), RUNTIMES["cpu-eager"], "w8a8", device=CPU)


def test_networks_take_turns_and_slow_ones_are_sampled_too() -> None:
    order: list[str] = []
    networks = {name: lambda name=name: order.append(name) for name in "abc"}
    found = time_networks(networks, seconds=0.0)
    assert order == ["a", "b", "c"] * 5
    for timing in found.values():
        assert timing.repeats == 5
        assert 0 < timing.min_ms <= timing.q20_ms <= timing.q50_ms <= timing.q80_ms
