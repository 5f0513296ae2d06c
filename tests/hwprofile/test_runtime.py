"""Runtimes: what each launches."""

from __future__ import annotations

import pytest
from does import Does
from torch import nn

from hwprofile.fuse import fuse
from hwprofile.kernel import Kernel
from hwprofile.runtime import CUDA_GRAPH, RUNTIMES, UnknownRuntimeError, get_runtime, launches
from hwprofile.targets import get_target
from hwprofile.trace import trace


def conv(c_in: int, c_out: int, k: int = 3, **how: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, k, padding=k // 2, bias=False, **how),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


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


def test_a_compiled_convolution_reads_channels_last_whatever_eager_torch_leaves() -> None:
    split = Does(
        lambda x, first, last: last(first(x).unflatten(1, (2, 16)).sum(1)),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.Conv2d(16, 24, 1),
    )
    record = trace(split.eval(), (1, 16, 20, 20), layout="nhwc")
    found = launches(record, RUNTIMES["cpu-inductor"], "fp32")
    layouts = [kernel.layout for kernel in found if "convolution" in kernel.ops]
    assert layouts == ["nhwc", "nhwc"]
