import pytest

from hwprofile.kernel import Kernel
from hwprofile.targets import get_target

CONV = Kernel(op="conv2d", scheme="fp16", m=64, n=64, k=64, weight_bytes=8192)
RELU = Kernel(op="elementwise", scheme="fp16", m=64, read_bytes=128, write_bytes=128)


def test_eager_operations_take_the_host_tens_of_microseconds() -> None:
    target = get_target("a100", runtime="eager")
    conv, relu = target.host(CONV), target.host(RELU)
    assert conv is not None
    assert relu is not None
    # Published floors of eager launches on A100 are 26 to 47 us; autocast casts weights beside.
    assert 0.026 < relu.value < 0.047
    assert relu.value < conv.value < 2 * relu.value
    assert relu.low < relu.value < relu.high


def test_host_time_does_not_depend_on_sizes_and_graphs_have_none() -> None:
    eager = get_target("a100", runtime="eager")
    large = Kernel(op="elementwise", scheme="fp16", m=10**9, read_bytes=10**9)
    assert eager.host(large) == eager.host(RELU)
    assert get_target("a100").host(CONV) is None


@pytest.mark.parametrize("runtime", ["eager", "inductor"])
def test_tf32_casts_no_weights(runtime: str) -> None:
    target = get_target("a100", runtime=runtime)
    tf32 = Kernel(op="conv2d", scheme="tf32", m=64, n=64, k=64, weight_bytes=16384)
    assert target.host(tf32) == target.host(RELU)
