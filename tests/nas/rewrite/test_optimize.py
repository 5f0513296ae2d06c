"""`nas.optimize`: the same function, the operators seen by torch's tools, the faults told."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
from searchspace.primitives.channel import InvertedMLP
from searchspace.primitives.channel_mixers import Pointwise
from searchspace.primitives.composite import Residual
from searchspace.primitives.norm import Bias, LayerScale
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
    "vit": {"layer_norm", "gemm"},
    "mobile": {
        *("torch.conv2d", "pointwise_conv2d", "depthwise_conv2d", "squeeze_excite"),
        *("global_average_pool", "gemm"),
    },
}


def stirred(module: nn.Module, seed: int = 0) -> nn.Module:
    """A module in evaluation mode whose norms, scales and biases do something."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        tensors = [p for name, p in part._parameters.items() if p is not None and p.dim() == 1]
        if isinstance(part, nn.BatchNorm2d):
            tensors += [part.running_mean, part.running_var]
        for tensor in tensors:
            if tensor.numel() > 1:
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module.eval()


def network(space: str) -> nn.Module:
    torch.manual_seed(0)
    return stirred(build(from_text(TREES[space]), image(3, 16, 16)))


def conv_norm_act(**options: int) -> nn.Sequential:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, **{"kernel_size": 1, **options})
    return stirred(nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU(inplace=True)))


class Blocks(nn.Module):
    """Layers called from a forward, as published models do, not from a Sequential."""

    def __init__(self, peek: bool = False, twice: bool = False) -> None:
        super().__init__()
        self.peek, self.twice = peek, twice
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.BatchNorm2d(4)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = self.act(self.norm(y))
        if self.twice:
            z = self.act(self.norm(self.conv(z)))
        return z + y if self.peek else z


def seeded(module: nn.Module) -> nn.Module:
    for index, parameter in enumerate(module.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(index))
    return stirred(module)


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


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize(
    ("options", "operation"),
    [
        ({}, "pointwise_conv2d"),
        ({"stride": 2}, "torch.conv2d"),
        ({"kernel_size": 3, "padding": 1, "groups": 8}, "depthwise_conv2d"),
        ({"kernel_size": 3, "padding": 1, "groups": 8, "stride": 2}, "depthwise_conv2d"),
        ({"kernel_size": 3, "padding": 2, "groups": 8, "dilation": 2}, "depthwise_conv2d"),
        ({"kernel_size": (3, 5), "padding": "same", "groups": 8}, "depthwise_conv2d"),
        ({"kernel_size": 3, "groups": 8}, "torch.conv2d"),
        ({"kernel_size": 4, "padding": "same", "groups": 8}, "torch.conv2d"),
        ({"kernel_size": 3, "padding": 1, "groups": 2}, "torch.conv2d"),
        ({"padding": 1}, "torch.conv2d"),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, "torch.conv2d"),
        ({"kernel_size": (3, 1), "stride": (2, 1), "bias": False}, "torch.conv2d"),
    ],
)
def test_convolutions_take_in_what_follows(options: dict, operation: str) -> None:
    original = conv_norm_act(**options)
    module, report = nas.optimize(original, (2, 8, 9, 11))
    (entry,) = report.replaced
    assert entry.operation == operation
    assert entry.covers == (("0", "1") if operation == "torch.conv2d" else ("0", "1", "2"))
    x = torch.randn(1, 8, 7, 6, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(module(x), original(x), rtol=1e-4, atol=1e-5)


def test_layers_of_a_forward_are_joined_by_the_flow_of_data() -> None:
    module, report = nas.optimize(seeded(Blocks()), (1, 4, 8, 8))
    assert [entry.covers for entry in report.replaced] == [("conv", "norm", "act")]
    assert isinstance(module.conv, products.DepthwiseConv)
    assert isinstance(module.act, nn.Identity)


def test_scales_and_offsets_of_channels_are_taken_in() -> None:
    torch.manual_seed(0)
    parts = [Pointwise(4), Bias(4), LayerScale(4), nn.BatchNorm2d(4), LayerScale(4), nn.SiLU()]
    original = stirred(nn.Sequential(*parts))
    module, report = nas.optimize(original, (2, 4, 5, 5))
    assert [entry.covers for entry in report.replaced] == [("0.mix", "1", "2", "3", "4", "5")]
    x = torch.randn(2, 4, 3, 7, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(module(x), original(x), rtol=1e-4, atol=1e-5)
    rows = stirred(nn.Sequential(nn.Linear(6, 4), LayerScale(4)))
    assert len(nas.optimize(rows, (2, 3, 6)).report.replaced[0].covers) == 2
    # Of four dimensions the second is scaled, which is no column of the product.
    rows = stirred(nn.Sequential(nn.Linear(6, 4), LayerScale(3)))
    assert len(nas.optimize(rows, (2, 3, 5, 6)).report.replaced[0].covers) == 1


def test_a_small_factor_in_float16_stays_apart() -> None:
    torch.manual_seed(0)
    original = nn.Sequential(Pointwise(4), LayerScale(4, 1e-6)).eval().half()
    report = nas.optimize(original, (2, 4, 5, 5)).report
    assert [entry.covers for entry in report.replaced] == [("0.mix",)]


def test_the_last_product_of_a_residual_adds_it() -> None:
    torch.manual_seed(0)
    inner = Residual(nn.Sequential(Pointwise(4), nn.BatchNorm2d(4), nn.ReLU()))
    body = nn.Sequential(inner, InvertedMLP(4, 2, "gelu"), LayerScale(4))
    original = stirred(nn.Sequential(Residual(body), Residual(nn.Sequential(nn.ReLU()))))
    module, report = nas.optimize(original, (2, 4, 5, 5))
    whole = {entry.path for entry in report.replaced if entry.kinds == ("Residual",)}
    assert whole == {"0", "0.body.0"}
    record = trace(module, (2, 4, 5, 5))
    ops = ["convolution", "relu", "add", "convolution", "gelu", "convolution", "add", "relu", "add"]
    assert [call.op for call in record.calls] == ops
    exported = torch.export.export(module, (torch.ones(2, 4, 5, 5),))
    sums = [node for node in exported.graph.nodes if "add" in str(node.target)]
    assert len(sums) == 1
    x = torch.randn(2, 4, 3, 7, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(module(x), original(x), rtol=1e-4, atol=1e-5)


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


def test_a_body_that_spreads_over_its_input_is_left() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1))
    report = nas.optimize(Residual(body).eval(), (2, 4, 5, 5)).report
    assert [entry.operation for entry in report.replaced] == [
        "global_average_pool",
        "pointwise_conv2d",
    ]


@pytest.mark.filterwarnings("ignore:Complex modules:UserWarning")
def test_mixed_dtypes_are_left() -> None:
    class Mixed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](self[0](x).float())

    report = nas.optimize(Mixed(nn.Linear(4, 4).half(), nn.LayerNorm(4)).eval(), (2, 4)).report
    assert [entry.path for entry in report.replaced] == ["0", "1"]
    odd = nn.Sequential(nn.Conv2d(4, 4, 1).to(torch.complex64)).eval()
    (left,) = nas.optimize(odd, torch.ones(1, 4, 2, 2, dtype=torch.complex64)).report.left
    assert "complex64" in left.reason


def test_a_forward_that_looks_into_a_layer_is_told() -> None:
    class Nosy(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[0](x) / self[0].in_features

    with pytest.raises(OptimizeError, match=r"looks into a layer that was replaced.*in_features"):
        nas.optimize(Nosy(nn.Linear(4, 4)).eval(), (2, 4))


def test_what_others_read_is_not_folded() -> None:
    report = nas.optimize(seeded(Blocks(peek=True)), (1, 4, 8, 8)).report
    assert [entry.covers for entry in report.replaced] == [("conv",), ("norm", "act")]


def test_a_layer_that_runs_twice_is_replaced_alone() -> None:
    report = nas.optimize(seeded(Blocks(twice=True)), (1, 4, 8, 8)).report
    assert [entry.covers for entry in report.replaced] == [("conv",), ("norm",)]
    shared = nn.Linear(4, 4)
    module = nas.optimize(nn.Sequential(shared, nn.ReLU(), shared).eval(), (2, 4)).module
    assert module[0] is module[2]


def test_hooks_and_subclasses_are_left_and_told() -> None:
    class Odd(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, 2 * self.weight)

    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda module, args, result: 2 * result)
    report = nas.optimize(nn.Sequential(Odd(4, 4), hooked).eval(), (2, 4)).report
    assert report.replaced == ()
    assert [(entry.path, entry.kind) for entry in report.left] == [("0", "Odd"), ("1", "Linear")]
    assert "hooks" in report.left[1].reason
    assert "2 left" not in str(report) or "hooks" in str(report)


def test_attention_of_torch_keeps_what_it_reads_itself() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    report = nas.optimize(layer, (2, 5, 16)).report
    assert "self_attn.out_proj" not in {entry.path for entry in report.replaced}


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


class Tiny(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1 + 1e-9 * x
