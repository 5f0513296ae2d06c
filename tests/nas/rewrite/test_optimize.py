"""`nas.optimize`: the same function, the operators seen by torch's tools, the faults told."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stirred import stirred
from torch import nn

import nas
from hwprofile.device import UnknownTargetError
from hwprofile.fuse import fuse
from hwprofile.trace import trace
from nas.export import export
from nas.rewrite import products
from nas.rewrite.check import OptimizeError
from nas.rewrite.report import TOLERANCES
from searchspace.architecture import Architecture
from searchspace.build import build
from searchspace.shapes import image
from searchspace.text import from_text

IMAGE = (2, 3, 16, 16)
TREES = {
    "conv_large_kernel": "net:0[a:0@float[strided_conv(8,2) layer_norm]; b:0@float[residual["
    "dilated_reparam(7) batch_norm squeeze_excite(4) inverted(2,gelu) layer_scale]; residual["
    "inception_depthwise(11) rms_norm]]; c:0@float[global_pool; classifier(3)]]",
    "conv_resnet": "net:0[a:0@float[conv(8,3,2) batch_norm activation(relu)]; b:0@float[residual["
    "conv(8,1,1) batch_norm activation(silu) grouped_conv(8,3,1,4) batch_norm]; activation(relu) "
    "eca]; c:0@float[global_pool; classifier(3)]]",
    "pooling": "net:0[a:0@float[conv(8,2,2) batch_norm]; b:0@float[branch(concat)[max_pool(3); "
    "average_pool(3)]; strided_max_pool(2,2) strided_average_pool(3,2)]; "
    "c:0@float[generalised_mean_pool; classifier(3)]]",
    "vit": "net:0[a:0@float[patch_tokens(16,4)]; b:0@float[residual[layer_norm attention(2)]; "
    "residual[layer_norm token_mlp(2,gelu)]]; c:0@float[token_pool(mean); classifier(3)]]",
    "mobile": "net:0[a:0@float[strided_conv(8,2) batch_norm activation(hardswish)]; b:0@float["
    "residual[conv(16,1,1) batch_norm activation(silu) depthwise(5) batch_norm activation(silu) "
    "excite(4,silu,sigmoid) conv(8,1,1) batch_norm]]; c:0@float[global_pool; classifier(3)]]",
}
"""A small network in the manner of each space."""
USED = {
    "conv_large_kernel": {
        *("layer_norm", "rms_norm", "depthwise_conv2d", "squeeze_excite", "pointwise_conv2d"),
        *("inception_depthwise_conv2d", "global_average_pool", "gemm"),
    },
    "conv_resnet": {"torch.conv2d", "pointwise_conv2d", "eca", "global_average_pool", "gemm"},
    "pooling": {"torch.conv2d", "max_pool2d", "average_pool2d", "gem_pool", "gemm"},
    "vit": {"layer_norm", "gemm", "attention"},
    "mobile": {
        *("torch.conv2d", "pointwise_conv2d", "depthwise_conv2d", "squeeze_excite"),
        *("global_average_pool", "gemm"),
    },
}


def network(space: str) -> nn.Module:
    torch.manual_seed(0)
    return stirred(build(from_text(TREES[space]), image(3, 16, 16)))


@pytest.mark.parametrize("space", TREES)
def test_networks_compute_the_same(space: str) -> None:
    original = network(space)
    before = copy.deepcopy(original.state_dict())
    module, report = nas.optimize(original, IMAGE)
    assert {entry.operation for entry in report.replaced} == USED[space]
    assert not any(isinstance(part, nn.BatchNorm2d) for part in module.modules())
    for size in (IMAGE, (3, *IMAGE[1:])):
        x = torch.randn(size, generator=torch.Generator().manual_seed(7))
        torch.testing.assert_close(module(x), original(x), rtol=1e-4, atol=1e-5)
    assert report.error <= report.tolerance == TOLERANCES[torch.float32]
    # The caller's module is as it was.
    assert all(p.requires_grad for p in original.parameters())
    for name, value in original.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("space", TREES)
def test_costs_are_those_of_the_original_or_less(space: str) -> None:
    original = network(space)
    module = nas.optimize(original, IMAGE).module
    before, after = (trace(m, IMAGE) for m in (original, module))
    assert after.macs <= before.macs
    for scheme in ("fp32", "fp16", "w8a8"):
        sums = [
            (
                len(kernels),
                sum(kernel.flops for kernel in kernels),
                sum(k.read_bytes + k.weight_bytes + k.write_bytes for k in kernels),
            )
            for kernels in (fuse(before, scheme), fuse(after, scheme))
        ]
        assert all(new <= old for old, new in zip(*sums, strict=True))


def test_an_exported_network_is_optimised(tmp_path: Path) -> None:
    root = from_text(TREES["vit"])
    folder = export(Architecture(space="vit", root=root), image(3, 16, 16), tmp_path / "net")
    original = nas.load(folder)
    module, report = nas.optimize(original, IMAGE)
    x = torch.randn(IMAGE, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(module(x), original(x), rtol=1e-4, atol=1e-5)
    assert "TokenPool" in str(report)


def test_branches_merged_cost_less() -> None:
    original = network("conv_large_kernel")
    module = nas.optimize(original, IMAGE).module
    assert trace(module, IMAGE).macs < trace(original, IMAGE).macs


def test_torch_tools_see_the_operators() -> None:
    original = network("mobile")
    module = nas.optimize(original, IMAGE).module
    x = torch.randn(IMAGE, generator=torch.Generator().manual_seed(1))
    exported = torch.export.export(module, (x,))
    seen = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert {f"nas.{name}.default" for name in USED["mobile"] - {"torch.conv2d"}} <= seen
    torch.testing.assert_close(exported.module()(x), original(x), rtol=1e-4, atol=1e-5)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), original(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_dtype(dtype: torch.dtype) -> None:
    original = network("conv_resnet").to(dtype)
    module, report = nas.optimize(original, IMAGE)
    assert next(module.parameters()).dtype == dtype
    assert report.error <= TOLERANCES[dtype]
    dense = any(entry.operation == "dense_conv2d" for entry in report.replaced)
    assert dense == (dtype is not torch.float64)


def test_the_root_itself_may_be_replaced() -> None:
    module, report = nas.optimize(nn.Linear(4, 3).eval(), (2, 4))
    assert isinstance(module, products.Gemm)
    assert report.replaced[0].path == ""


def test_norms_alone_are_folded_for_cpus() -> None:
    original = network("mobile")
    module, report = nas.optimize(original, IMAGE, target="cpu")
    assert {entry.operation for entry in report.replaced} == {"torch.conv2d"}
    assert not any(isinstance(part, nn.BatchNorm2d) for part in module.modules())
    assert nas.optimize(original, IMAGE, target="a100").report.replaced
    with pytest.raises(UnknownTargetError, match="a100"):
        nas.optimize(original, IMAGE, target="a101")


def test_an_input_is_guessed() -> None:
    assert nas.optimize(nn.Linear(4, 3).eval()).report.error == 0
    with pytest.raises(OptimizeError, match="give its shape"):
        nas.optimize(nn.ReLU().eval())


def test_training_mode_is_refused_with_the_path() -> None:
    part = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).eval()
    part[1].train()
    with pytest.raises(OptimizeError, match=r"'1' is in training mode.*\.eval\(\)"):
        nas.optimize(part, (2, 4))


def test_a_shape_that_does_not_fit_is_told() -> None:
    with pytest.raises(OptimizeError, match="cannot be traced"):
        nas.optimize(nn.Linear(4, 4).eval(), (2, 5))


def test_gradients_are_refused_clearly() -> None:
    module = nas.optimize(nn.Linear(4, 3).eval(), (2, 4)).module
    x = torch.randn(2, 4, requires_grad=True)
    with pytest.raises(NotImplementedError, match="inference"):
        module(x).sum().backward()


def test_torch_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, nas; assert 'torch' not in sys.modules; nas.optimize; import nas.rewrite;"
        "assert callable(nas.optimize)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
