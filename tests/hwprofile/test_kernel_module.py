"""A kernel as a module of one layer: what it traces to is the kernel again."""

import pytest
import torch

from hwprofile.fuse import fuse
from hwprofile.kernel import Kernel
from hwprofile.kernel_module import module_of
from hwprofile.trace import trace

KERNELS = [
    Kernel(op="gemm", scheme="fp32", m=6, n=5, k=4),
    Kernel(op="gemm", scheme="fp32", m=6, n=5, k=4, groups=3),
    Kernel(op="conv2d", scheme="fp32", m=49, n=8, k=27, taps=9),
    Kernel(op="conv2d", scheme="bf16", m=56, n=4, k=8, groups=2, taps=1, stride=2),
    Kernel(op="depthwise_conv2d", scheme="fp32", m=64, n=1, k=25, groups=12, taps=25, stride=2),
    Kernel(op="layer_norm", scheme="fp32", m=10, n=32),
    Kernel(op="softmax", scheme="fp16", m=10, n=32),
    Kernel(op="reduce", scheme="fp32", m=10, n=32),
    Kernel(op="pool", scheme="fp32", m=49, taps=9, stride=2),
    Kernel(op="copy", scheme="fp32", m=77),
    Kernel(op="elementwise", scheme="fp32", m=77),
    Kernel(op="other", scheme="fp32", m=10, n=8, k=12, groups=4),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{k.op}-{k.groups}")
def test_the_module_launches_the_kernel_and_runs(kernel):
    module, inputs = module_of(kernel)
    (found,) = fuse(trace(module, *inputs), kernel.scheme)
    for name in ("op", "scheme", "m", "n", "k", "groups", "taps", "stride"):
        assert getattr(found, name) == getattr(kernel, name), name
    with torch.inference_mode():
        assert torch.isfinite(module(*inputs)).all()


def test_a_quantized_kernel_has_no_layer():
    with pytest.raises(ValueError, match="got 'w8a8'"):
        module_of(Kernel(op="gemm", scheme="w8a8", m=6, n=5, k=4))
