"""Runtimes: what each launches, and that eager rules are what torch's profiler lists."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwprofile.fuse import fuse
from hwprofile.kernel import Kernel
from hwprofile.observed import ran
from hwprofile.runtime import CUDA_GRAPH, RUNTIMES, UnknownRuntimeError, get_runtime, launches
from hwprofile.targets import get_target
from hwprofile.trace import trace


class Does(nn.Module):
    """Runs layers as a function says."""

    def __init__(self, forward: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.does, self.layers = forward, nn.ModuleList(layers)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.does(*inputs, *self.layers)


def permuted_norm(x: Tensor, conv: nn.Module, norm: nn.Module, mlp: nn.Module) -> Tensor:
    y = mlp(norm(conv(x).permute(0, 2, 3, 1)))
    return x + y.permute(0, 3, 1, 2)


def attention(x: Tensor, qkv: nn.Module, out: nn.Module) -> Tensor:
    b, n, c = x.shape
    q, k, v = qkv(x).view(b, n, 3, 4, -1).permute(2, 0, 3, 1, 4)
    y = (q @ k.transpose(-2, -1) * 0.5).softmax(-1) @ v
    return out(y.transpose(1, 2).reshape(b, n, c))


def fused_attention(x: Tensor, qkv: nn.Module, out: nn.Module) -> Tensor:
    b, n, c = x.shape
    q, k, v = qkv(x).view(b, n, 3, 4, -1).permute(2, 0, 3, 1, 4)
    return out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))


def gate(x: Tensor, down: nn.Module, up: nn.Module) -> Tensor:
    return x * torch.sigmoid(up(F.relu(down(x.mean((2, 3), keepdim=True)))))


def conv(c_in: int, c_out: int, k: int = 3, **how: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, k, padding=k // 2, bias=False, **how),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


EAGER: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolution, norm and activation": (
        nn.Sequential(conv(3, 16, stride=2), conv(16, 16, 5, groups=16), nn.MaxPool2d(3, 2, 1)),
        (2, 3, 33, 31),
    ),
    "residual": (Does(lambda x, f: F.gelu(f(x) + x), conv(16, 16)), (1, 16, 24, 24)),
    "depthwise, then a norm of permuted channels": (
        Does(
            permuted_norm,
            nn.Conv2d(16, 16, 7, padding=3, groups=16),
            nn.LayerNorm(16),
            nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16)),
        ),
        (2, 16, 12, 12),
    ),
    "a convolution of what a permute left channels-last": (
        Does(
            lambda x, f, g: g(f(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)),
            nn.LayerNorm(16),
            nn.Conv2d(16, 8, 3),
        ),
        (2, 16, 12, 12),
    ),
    "attention in parts": (Does(attention, nn.Linear(16, 48), nn.Linear(16, 16)), (2, 9, 16)),
    "attention": (Does(fused_attention, nn.Linear(16, 48), nn.Linear(16, 16)), (2, 9, 16)),
    "attention that no kernel serves": (
        Does(lambda x: F.scaled_dot_product_attention(x, x, x[..., :4])),
        (2, 3, 9, 16),
    ),
    "gate": (Does(gate, nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)), (2, 16, 8, 8)),
    "pools": (
        Does(
            lambda x: F.adaptive_avg_pool2d(F.avg_pool2d(F.adaptive_avg_pool2d(x, 4), 2), 1),
        ),
        (2, 16, 8, 8),
    ),
    "joined, shifted and padded": (
        Does(
            lambda x: F.pad(torch.cat([x, x.roll((1, 2), (1, 2))], 1), (1, 1)).chunk(2, 1)[0].exp(),
        ),
        (2, 4, 6),
    ),
    "rows that are not one after the other": (
        Does(
            lambda x, f: f(x[..., :8]) + f(x.transpose(0, 1)[..., :8]).transpose(0, 1),
            nn.Linear(8, 5),
        ),
        (3, 3, 16),
    ),
    "group norm of a part": (Does(lambda x, f: f(x[:, :8]), nn.GroupNorm(2, 8)), (2, 16, 6, 6)),
    "what is computed from parameters": (
        Does(lambda x, f: F.linear(x, F.normalize(f.weight)), nn.Linear(8, 8)),
        (2, 3, 8),
    ),
}


@pytest.mark.parametrize("name", EAGER)
def test_eager_on_a_cpu_is_what_the_profiler_lists(name: str) -> None:
    module, shape = EAGER[name]
    module.eval()
    kernels = launches(trace(module, shape, layout="nchw"), RUNTIMES["cpu-eager"], "fp32")
    expected = Counter(
        (kernel.ops[0], math.prod(kernel.shape) if kernel.ops != ("cat",) else 0)
        for kernel in kernels
    )
    assert expected == Counter(tuple(found) for found in ran(module, torch.randn(shape)))


def test_eager_in_16_bits_casts_means_and_may_take_groups_apart() -> None:
    module = nn.Sequential(nn.Conv2d(16, 16, 3, groups=4), nn.AdaptiveAvgPool2d(1)).bfloat16()
    image = torch.randn(1, 16, 32, 32).bfloat16()
    kernels = launches(trace(module, image, layout="nchw"), RUNTIMES["cpu-eager"], "bf16")
    expected = Counter(kernel.ops[0] for kernel in kernels)
    assert expected == Counter(call.op for call in ran(module, image))
    assert (expected["copy"], expected["sum"], expected["div"]) == (3, 1, 1)


def test_an_embedding_looks_up_rows() -> None:
    module = nn.Embedding(100, 8)
    index = torch.zeros(2, 5, dtype=torch.long)
    (kernel,) = launches(trace(module, index, layout="nchw"), RUNTIMES["cpu-eager"], "fp32")
    assert [kernel.ops[0]] == [found.op for found in ran(module, index)]
    assert (kernel.weight_bytes, kernel.write_bytes) == (2 * 5 * 8 * 4, 2 * 5 * 8 * 4)


def kernels_of(
    module: nn.Module,
    shape: tuple[int, ...],
    name: str,
    scheme: str = "fp16",
) -> tuple[Kernel, ...]:
    runtime = RUNTIMES[name]
    return launches(trace(module, shape, layout=runtime.layout), runtime, scheme)


NETWORK = nn.Sequential(
    conv(3, 16), conv(16, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
)


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_does_all_the_products_of_a_network(name: str) -> None:
    record = trace(NETWORK, (2, 3, 8, 8))
    for scheme in ("fp32", "bf16", "fp16"):
        found = kernels_of(NETWORK, (2, 3, 8, 8), name, scheme)
        products = [k for k in found if k.op in ("gemm", "conv2d")]
        assert sum(2 * k.m * k.n * k.k * k.groups for k in products) == 2 * record.macs
        assert all(min(k.read_bytes, k.weight_bytes) >= 0 < k.write_bytes for k in found)


def test_runtimes_fuse_what_their_compilers_do() -> None:
    details = {
        name: [
            kernel.detail
            for kernel in kernels_of(
                NETWORK[0], (2, 3, 8, 8), name, "fp32" if runtime.kind == "cpu" else "fp16"
            )
        ]
        for name, runtime in RUNTIMES.items()
    }
    assert details == {
        "cuda-graph": ["convolution+batch_norm+relu"],
        "eager": ["cast", "convolution", "batch_norm", "relu"],
        "inductor": ["convolution", "batch_norm+relu"],
        "cpu-eager": ["convolution", "batch_norm", "relu"],
        "cpu-inductor": ["copy to channels-last", "convolution+batch_norm+relu"],
    }


def test_inductor_on_cuda_takes_biases_out_of_the_products_that_need_not_have_them() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.Flatten(2),
        nn.Linear(36, 8),
        nn.GELU(),
        nn.Linear(8, 8),
        nn.Softmax(-1),
    )
    found = [kernel.detail for kernel in kernels_of(module, (1, 3, 8, 8), "inductor")]
    assert found == ["convolution", "add", "linear", "add+gelu", "linear", "softmax"]


def test_the_graph_is_the_default_and_tells_no_operations() -> None:
    record = trace(NETWORK, (2, 3, 8, 8))
    assert launches(record, CUDA_GRAPH, "w8a8") == fuse(record, "w8a8")
    assert all((k.ops, k.layout, k.shape) == ((), "", ()) for k in launches(record, CUDA_GRAPH))


def test_loop_nests_between_two_library_calls_are_one_function() -> None:
    module = Does(lambda x, f: f(x.softmax(-1) + 1).sum(-1).exp(), nn.Linear(8, 8))
    found = kernels_of(module, (4, 8), "cpu-inductor", "fp32")
    assert [(k.ops, k.joined) for k in found] == [
        (("softmax", "add"), False),
        (("linear",), False),
        (("add", "sum", "exp"), False),
    ]


def test_an_image_given_to_a_network_is_copied_but_not_one_within_it() -> None:
    record = trace(nn.Conv2d(3, 4, 3), (1, 3, 8, 8))
    runtime = RUNTIMES["cpu-inductor"]
    assert [k.op for k in launches(record, runtime, "fp32")] == ["copy", "conv2d"]
    assert [k.op for k in launches(record, runtime, "fp32", within=True)] == ["conv2d"]


def test_tf32_multiplies_faster_and_stores_as_fp32() -> None:
    record, target = trace(NETWORK, (64, 3, 56, 56)), get_target("a100")
    full, fast = (launches(record, CUDA_GRAPH, scheme) for scheme in ("fp32", "tf32"))
    for a, b in zip(full, fast, strict=True):
        assert (a.read_bytes, a.weight_bytes) == (b.read_bytes, b.weight_bytes)
        assert b.scheme == ("tf32" if a.op in ("gemm", "conv2d") else "fp32")
    fast_ms, full_ms = (sum(target.alone(k).value for k in ks) for ks in (fast, full))
    assert fast_ms < full_ms


def test_a_device_without_tf32_refuses_it() -> None:
    record = trace(nn.Linear(8, 8), (2, 8))
    (kernel,) = launches(record, CUDA_GRAPH, "tf32")
    with pytest.raises(ValueError, match="v100 has no rate for tf32: use fp32"):
        get_target("v100").price(kernel)


def test_names_and_schemes_are_checked() -> None:
    with pytest.raises(
        UnknownRuntimeError, match=r"one of cuda-graph, .* did you mean 'cpu-eager'"
    ):
        get_runtime("cpu-eagr")
    with pytest.raises(ValueError, match="cpu-eager runs fp32, bf16, fp16; got 'w8a8'"):
        launches(trace(nn.ReLU(), (2, 3)), RUNTIMES["cpu-eager"], "w8a8")
    with pytest.raises(ValueError, match="traced with layout='nchw'; this one was with 'nhwc'"):
        launches(trace(nn.ReLU(), (2, 3)), RUNTIMES["cpu-eager"], "fp32")
